"""Searches between two classes: what the stages share that look for triggers of one source."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.families import FAMILIES

FAMILY = FAMILIES["sparse"]
ALL_PAIRS = 12  # classes up to which all pairs are inverted
SMALL = 64 * 64  # pixels: pairs of larger images cost minutes
LEAST_SOURCES = 3  # of which two are what a pair is compared with


def pair_task(images: Tensor, truth: Tensor, right: Tensor, pairs: list[tuple[int, int]]) -> loop.Task:
    """One inversion for each pair (source, target), on the right images (N,) of its source."""
    targets = torch.tensor([t for _, t in pairs], device=images.device)
    sources = torch.tensor([s for s, _ in pairs], device=images.device)
    return loop.Task(targets, images, (truth[None] == sources[:, None]) & right[None])
