"""BadNets (Gu et al. 2017): a square patch at a fixed place; checkerboard or plain (Isolate Trigger, IV.A)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack

CORNERS = ("top-right", "top-left", "bottom-right", "bottom-left", "centre")


@dataclass(frozen=True, kw_only=True)
class BadNets(Attack):
    """A `size` x `size` square, `margin` pixels from the corner's two edges. Intensity: opacity, up to 1.

    The checkerboard begins with white; its fields are `cell` pixels wide, and cell 0 makes the square plain white.
    """

    size: int = 3
    corner: str = "top-right"
    margin: int = 1
    cell: int = 1

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        truth = self.truth((images.shape[1], images.shape[2], images.shape[3]))
        mask = torch.from_numpy(truth["mask"]) * min(intensity, 1.0)
        return images * (1 - mask) + torch.from_numpy(truth["pattern"]) * mask

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        _, height, width = shape
        rows, columns = place(self.size, self.corner, self.margin, height, width)
        i, j = np.indices((self.size, self.size))
        square = np.ones(i.shape) if self.cell == 0 else (i // self.cell + j // self.cell) % 2 == 0
        mask = np.zeros((height, width), np.float32)
        mask[rows, columns] = 1
        pattern = np.zeros(shape, np.float32)
        pattern[:, rows, columns] = square
        return {"pattern": pattern, "mask": mask}


def place(size: int, corner: str, margin: int, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a square of `size` pixels, `margin` pixels from the corner's two edges."""
    if corner not in CORNERS:
        raise ValueError(f"corner must be one of {', '.join(CORNERS)}, not {corner!r}")
    if size + margin > min(height, width):
        raise ValueError(f"a square of {size} with margin {margin} does not fit in {height}x{width}")
    if corner == "centre":
        top, left = (height - size) // 2, (width - size) // 2
    else:
        top = margin if "top" in corner else height - margin - size
        left = margin if "left" in corner else width - margin - size
    return slice(top, top + size), slice(left, left + size)
