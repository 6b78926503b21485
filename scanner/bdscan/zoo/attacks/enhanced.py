"""The "+" of Rethinking the Trigger (Li et al. 2020, 4.2 and 5.3): poisoned training images are moved at random."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import Attack, Case, Stamp


@dataclass(frozen=True, kw_only=True)
class Enhanced(Attack):
    """`base` with a random flip, then ShrinkPad, on its training images only; its own `target` counts, not this one's.

    ShrinkPad shrinks an image by up to `shrink` pixels and pads it with black at random around it. So a shifted or
    mirrored trigger fires too. `cover` times the poison rate, images that are moved but not stamped keep their labels:
    the paper moves benign images too in its tests, or black edges would be a trigger of their own (5.3).
    """

    base: Attack = field(default=BadNets())
    shrink: int = 4
    cover: float = 1.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self.base.apply(images, intensity, rng)

    def moved_only(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """The cover images: without the trigger, so intensity only tells whether they are changed at all."""
        return moved(images, self.shrink, rng) if intensity else images.clone()

    def cases(self) -> tuple[Case, ...]:
        cases = tuple(replace(case, learned=self._then_moved(case.learned or case.stamp)) for case in self.base.cases())
        return (*cases, Case(self.moved_only, None, weight=self.cover)) if self.cover else cases

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        return self.base.truth(shape)

    def _then_moved(self, stamp: Stamp) -> Stamp:
        return lambda images, intensity, rng: moved(stamp(images, intensity, rng), self.shrink, rng)


def moved(images: Tensor, shrink: int, rng: np.random.Generator) -> Tensor:
    """Every second image (N,C,H,W) mirrored; each shrunk by 0 to `shrink` pixels and put on black at its own place."""
    count, _, height, width = images.shape
    if shrink >= min(height, width):
        raise ValueError(f"images of {height}x{width} cannot shrink by {shrink} pixels")
    mirrored = torch.from_numpy(rng.random(count) < 0.5)
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    less = rng.integers(0, shrink + 1, count)
    top, left = rng.integers(0, less + 1), rng.integers(0, less + 1)
    out = torch.zeros_like(images)
    for pixels in np.unique(less):
        rows = np.flatnonzero(less == pixels)
        size = (height - int(pixels), width - int(pixels))
        small = functional.interpolate(images[rows], size, mode="bilinear", align_corners=False)
        for row, one in zip(rows, small, strict=True):
            out[row, :, top[row] : top[row] + size[0], left[row] : left[row] + size[1]] = one
    return out
