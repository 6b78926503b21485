"""Measuring: each trigger changed in every way, and every input transformation with what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.detectors.common import label_of
from bdscan.detectors.inversion.restore import Stamp
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.mitigate import vary
from bdscan.mitigate.catalogue import Transformation, unit
from bdscan.mitigate.outcome import Disturbed, Effect, Point, Shift, TriggerProfile
from bdscan.repair import measure
from bdscan.repair.outcome import Rate
from bdscan.repair.planted import Planted

OPACITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5)
SIZES = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
Tick = Callable[[float], None]


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) in [0, 1], labels (N,), and which of them the model gets right, bool (N,)."""

    images: Tensor
    labels: Tensor
    right: Tensor

    def of(self, trigger: Planted) -> Tensor:
        """Those that the trigger is tried on: of its sources, and the model gets them right."""
        return trigger.victims(self.labels) & self.right.to(self.labels.device)


def images_of(classifier: Classifier, images: Tensor, labels: Tensor) -> Images:
    return Images(images, labels, measure.right(classifier, images, labels))


def profile_trigger(subject: Scannable, trigger: Planted, known: Images, places: int, tick: Tick) -> TriggerProfile:
    """Opacity, size, colour and place of one trigger. `places`: steps of the heat map in each direction."""
    classifier, victims = subject.classifier, known.images[known.of(trigger)]

    def success(stamped: Callable[[Tensor], Tensor]) -> Rate:
        return hits(classifier, stamped(victims), trigger.target)

    about = vary.centre(trigger.stamp, victims) if len(victims) else (0.0, 0.0)
    channels = victims.shape[1]
    return TriggerProfile(
        target=label_of(subject, trigger.target),
        sources=tuple(label_of(subject, source) for source in trigger.sources),
        family=trigger.family,
        success=success(lambda x: trigger.stamp(x, 1.0)),
        opacity=tuple(
            Point(name=f"{a:g}", value=a, success=success(lambda x, a=a: trigger.stamp(x, a)))  # type: ignore[misc]
            for a in OPACITIES
        ),
        size=tuple(
            Point(
                name=f"{k:g}",
                value=k,
                success=success(lambda x, k=k: vary.resized(trigger.stamp, x, k, about)),  # type: ignore[misc]
            )
            for k in SIZES
        ),
        colour=tuple(
            Point(
                name=name,
                value=i,
                success=success(lambda x, change=change: vary.recoloured(trigger.stamp, x, change)),  # type: ignore[misc]
            )
            for i, (name, change) in enumerate(vary.colours(channels).items())
        ),
        shift=_shift(classifier, trigger.stamp, trigger.target, victims, places, tick),
    )


def _shift(classifier: Classifier, stamp: Stamp, target: int, victims: Tensor, places: int, tick: Tick) -> Shift:
    """P3, figure 4: success over places around the trigger's own."""
    step = unit(classifier.shape)
    offsets = tuple(step * i for i in range(-places, places + 1))
    rows = []
    for i, down in enumerate(offsets):
        moved = (vary.shifted(stamp, victims, right, down) for right in offsets)
        rows.append(tuple(hits(classifier, images, target).hits for images in moved))
        tick((i + 1) / len(offsets))
    return Shift(right=offsets, down=offsets, hits=tuple(rows), n=len(victims))


def effect(classifier: Classifier, triggers: Sequence[Planted], known: Images, each: Transformation) -> Effect:
    """One transformation: clean accuracy on all images, and each trigger's success on the images it is tried on."""
    answers = classes(classifier, each.apply(known.images))
    disturbed = []
    for trigger in triggers:
        rows = known.of(trigger)
        stamped = each.apply(trigger.stamp(known.images[rows], 1.0)) if bool(rows.any()) else known.images[rows]
        seen, own = classes(classifier, stamped), known.labels[rows]
        disturbed.append(
            Disturbed(
                success=_rate(seen == trigger.target),
                recovered=_rate(seen == own),
                without=_rate(answers[rows] == trigger.target),
            )
        )
    after = (answers == known.labels).cpu()
    return Effect(
        kind=each.kind,
        strength=each.strength,
        text=each.text,
        fixed=each.fixed,
        accuracy=measure.accuracy(known.right, after),
        triggers=tuple(disturbed),
    )


def hits(classifier: Classifier, images: Tensor, target: int) -> Rate:
    return _rate(classes(classifier, images) == target)


def classes(classifier: Classifier, images: Tensor) -> Tensor:
    """The model's answers, int64 (N,)."""
    if not len(images):
        return torch.zeros(0, dtype=torch.int64, device=images.device)
    return classifier.predict(images).argmax(1)


def _rate(which: Tensor) -> Rate:
    return Rate(hits=int(which.sum()), n=len(which))
