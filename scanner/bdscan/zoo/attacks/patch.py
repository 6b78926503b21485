"""BadNets with a picture for a square: bomb, flower, small figure (Revisiting ... Trigger Intensity, table 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.badnets import place
from bdscan.zoo.attacks.cutouts import cutout, shrunk
from bdscan.zoo.attacks.interface import Attack

SCALES = ("size", "opacity")


@dataclass(frozen=True, kw_only=True)
class Patch(Attack):
    """`picture`, `size` pixels square, in a corner as BadNets' square; also the path of an image file of one's own.

    Intensity scales the width, as in the paper's table, up to the image's; with `scales` opacity it scales `opacity`,
    up to 1. The picture's outer corner stays where it is.
    """

    picture: str = "flower"
    size: int = 8
    opacity: float = 1.0
    corner: str = "bottom-right"
    margin: int = 1
    scales: str = "size"

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        if self.scales not in SCALES:
            raise ValueError(f"scales must be one of {', '.join(SCALES)}, not {self.scales!r}")
        channels, height, width = images.shape[1:]
        by_size = self.scales == "size"
        size = round(self.size * intensity) if by_size else self.size
        opacity = self.opacity if by_size else self.opacity * intensity
        if size == 0:
            return images.clone()
        if by_size and intensity > 1:  # a size that does not fit by itself is the caller's mistake
            size = min(size, min(height, width) - self.margin)
        pattern, mask = self._drawn((channels, height, width), size, min(opacity, 1.0))
        return images * (1 - mask) + pattern * mask

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        pattern, mask = self._drawn(shape, self.size, self.opacity)
        return {"pattern": pattern.numpy(), "mask": mask.numpy()}

    def _drawn(self, shape: tuple[int, int, int], size: int, opacity: float) -> tuple[Tensor, Tensor]:
        """Pattern (C,H,W) and mask (H,W) of the picture at this size."""
        channels, height, width = shape
        rows, columns = place(size, self.corner, self.margin, height, width)
        colour, alpha = shrunk(cutout(self.picture), size, channels)
        pattern, mask = torch.zeros(shape), torch.zeros(height, width)
        pattern[:, rows, columns], mask[rows, columns] = colour, alpha * opacity
        return pattern, mask
