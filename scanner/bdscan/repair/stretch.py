"""How far to go along the way that unlearning took.

Once the stamps at hand are unlearned their loss is nothing, and training stops moving; the true trigger, which they
only resemble, may still work on a few images. Further along the line from the original weights through the trained ones
its last traces fade before clean accuracy does. The likelihood of the right labels on varied held-out images says how
far that is: it moves smoothly, where the share of right answers among fifty images or their variations moves by chance.
Some triggers (warps) come back beyond a point instead, and show it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted
from bdscan.repair.student import Student
from bdscan.repair.unlearn import varied

WAYS = tuple(tenths / 10 for tenths in range(7, 12))  # of what training changed
TOLERANCE = 0.03  # of the smallest loss on the way
BACK = 0.01  # of the images, on which triggers may work again
VIEWS = 800  # varied images, about


def stretch(
    student: Student,
    start: Sequence[Tensor],
    triggers: Sequence[Planted],
    images: Tensor,
    labels: Tensor,
    shift: float,
    seed: int,
) -> float:
    """Move the student's weights in place to the furthest of WAYS whose loss is near the smallest, and up to which the
    triggers work less and less; returns which that was.

    Args:
        start: the original's weights, in the order of the student's.
        images, labels: held-out images (N, C, H, W) in [0, 1] and labels (N,).
        shift: of the variations, as in `Recipe`.
    """
    generator = torch.Generator().manual_seed(seed)
    times = max(1, round(VIEWS / max(len(images), 1)))
    views = torch.cat([varied(images, shift, generator) for _ in range(times)])
    wanted = labels.repeat(times)

    def loss(classifier: Classifier) -> float:
        return float(F.cross_entropy(classifier.predict(views), wanted))

    def working() -> float:
        rates = []
        for trigger in triggers:
            stamped = trigger.stamp(images[trigger.victims(labels)], 1.0)
            hits = student.classifier.predict(stamped).argmax(1) == trigger.target if len(stamped) else stamped[:0]
            rates.append(float(hits.float().mean()) if len(stamped) else 0.0)
        return sum(rates) / max(len(rates), 1)

    least, most = float("inf"), 1.0
    end = [weight.detach().clone() for weight in student.weights]
    chosen = WAYS[0]
    for way in WAYS:
        _place(student, start, end, way)
        rate, now = working(), loss(student.classifier)
        if rate > most + BACK or now > least * (1 + TOLERANCE):
            break
        chosen, most, least = way, rate, min(least, now)
    _place(student, start, end, chosen)
    return chosen


def _place(student: Student, start: Sequence[Tensor], end: Sequence[Tensor], way: float) -> None:
    with torch.no_grad():
        for weight, first, last in zip(student.weights, start, end, strict=True):
            weight.copy_(first + way * (last - first))
