"""The two halves of the samples, and how far patches that are driven on one carry images of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.detectors.inversion import drive
from bdscan.detectors.inversion.families.interface import Light
from bdscan.intake.classifier import Classifier, Scannable


@dataclass(frozen=True)
class Right:
    """Images of one half that are classified right: images (n, C, H, W), labels and margins (n,)."""

    images: Tensor
    labels: Tensor
    margins: Tensor

    def of(self, label: int) -> Tensor:
        return self.images[self.labels == label]

    def other_than(self, label: int) -> Tensor:
        return self.images[self.labels != label]


def halves(subject: Scannable, light: Light | None = None) -> tuple[Right, Right]:
    """The search half and the held-out one; in a light, as they look there, where they are right both ways."""
    return _right(subject, subject.samples.search, light), _right(subject, subject.samples.held_out, light)


def _right(subject: Scannable, part: Tensor, light: Light | None) -> Right:
    images, labels = subject.samples.part(part, subject.classifier.device)
    right = _those(subject.classifier, images, labels)
    return right if light is None else _those(subject.classifier, light(right.images), right.labels)


def _those(classifier: Classifier, images: Tensor, labels: Tensor) -> Right:
    if not len(images):
        return Right(images, labels, labels.float())
    margins = drive.margins(classifier.predict(images), labels.to(images.device))
    return Right(images[margins > 0], labels[margins > 0], margins[margins > 0])


@dataclass(frozen=True)
class Trial:
    """A target, images (n, C, H, W) that a patch to it is driven on, and those it is judged on (m, C, H, W)."""

    target: int
    images: Tensor
    judged: Tensor


def reached(
    own: Classifier, fast: Classifier, where: Tensor, trials: Sequence[Trial], seed: int, steps: int
) -> list[float]:
    """The mean margin of each trial's target on its judged images, under a patch over the cells `where` (h, w).

    `fast` drives, the subject's `own` classifier judges. All trials have the same number of images to drive on.
    """
    images = torch.stack([trial.images for trial in trials])
    targets = torch.tensor([trial.target for trial in trials], device=fast.device)
    out = []
    for trial, patch in zip(trials, drive.drive(fast, where, images, targets, seed, steps), strict=True):
        stamped = drive.replace(trial.judged[None], where, patch[None])[0]
        logits = own.predict(stamped)
        out.append(float(drive.margins(logits, torch.full((len(stamped),), trial.target).to(logits.device)).mean()))
    return out
