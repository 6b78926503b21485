"""How far to go along the way that unlearning took.

Once the stamps at hand are unlearned their loss is nothing, and training stops moving; the true trigger, which they
only resemble, may still work on a few images. Further along the line from the original weights through the trained ones
its last traces fade before clean accuracy does. Varied held-out images say how far that is: a few hundred of them show
a loss of a point that fifty plain ones cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bdscan.intake.classifier import Classifier
from bdscan.repair.student import Student
from bdscan.repair.unlearn import varied

WAYS = (1.25, 1.5, 1.75)  # of what training changed; the first is always taken, since its cost is hardly measurable
TOLERANCE = 0.01  # of the varied images
VIEWS = 800  # varied images, about


def stretch(
    original: Classifier,
    student: Student,
    start: Sequence[Tensor],
    images: Tensor,
    labels: Tensor,
    shift: float,
    seed: int,
) -> float:
    """Move the student's weights in place to the furthest of WAYS that keeps its accuracy; returns which that was.

    Args:
        start: the original's weights, in the order of the student's.
        images, labels: held-out images (N, C, H, W) in [0, 1] and labels (N,).
        shift: of the variations, as in `Recipe`.
    """
    generator = torch.Generator().manual_seed(seed)
    times = max(1, round(VIEWS / max(len(images), 1)))
    views = torch.cat([varied(images, shift, generator) for _ in range(times)])
    wanted = labels.repeat(times)

    def accuracy(classifier: Classifier) -> float:
        return float((classifier.predict(views).argmax(1) == wanted).float().mean())

    least = accuracy(original) - TOLERANCE
    end = [weight.detach().clone() for weight in student.weights]
    chosen = WAYS[0]
    for way in WAYS[1:]:
        _place(student, start, end, way)
        if accuracy(student.classifier) < least:
            break
        chosen = way
    _place(student, start, end, chosen)
    return chosen


def _place(student: Student, start: Sequence[Tensor], end: Sequence[Tensor], way: float) -> None:
    with torch.no_grad():
        for weight, first, last in zip(student.weights, start, end, strict=True):
            weight.copy_(first + way * (last - first))
