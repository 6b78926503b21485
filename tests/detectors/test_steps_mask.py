"""DMS-Steps: with a mask the walk stays inside it."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.detectors import steps
from bdscan.intake.classifier import Classifier, Samples, Scannable
from bdscan.report import Preprocessing

SHAPE = (1, 4, 4)


def logits(images: Tensor) -> Tensor:
    """Class 0 on dark images; light in the left half makes class 1, in the right half, sooner, class 2."""
    left, right = images[:, 0, :, :2].sum((1, 2)), images[:, 0, :, 2:].sum((1, 2))
    return torch.stack([torch.full_like(left, 2.0), 2 * left, 4 * right], 1)


def subject() -> Scannable:
    classifier = Classifier(logits, ("dark", "left", "right"), SHAPE, torch.device("cpu"), Preprocessing())
    images = torch.zeros(4, *SHAPE, dtype=torch.uint8)
    both = torch.arange(4)
    return Scannable(classifier, Samples(images, torch.zeros(4, dtype=torch.int64), both, both))


def test_the_mask_keeps_the_walk_inside() -> None:
    left = torch.zeros(1, 4, 4)
    left[..., :2] = 1
    landed = {name: steps.mutate(subject(), 24, mask=mask)[2] for name, mask in (("plain", None), ("left", left))}
    assert landed["plain"].tolist() == [2] * 4
    assert landed["left"].tolist() == [1] * 4
    everywhere = steps.mutate(subject(), 24, mask=torch.ones(1, 4, 4))
    for with_mask, without in zip(everywhere, steps.mutate(subject(), 24), strict=True):
        assert (with_mask == without).all()
