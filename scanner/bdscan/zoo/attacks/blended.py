"""Blended (Chen et al. 2017): a faint picture over the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bdscan.zoo.attacks.interface import Attack


@dataclass(frozen=True, kw_only=True)
class Blended(Attack):
    """Mixes in a random picture of `cells` x `cells` smooth blobs (0: noise of every pixel), drawn from `seed`.

    Intensity scales the opacity, up to an opacity of 1.
    """

    opacity: float = 0.2
    cells: int = 0
    seed: int = 0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        truth = self.truth((images.shape[1], images.shape[2], images.shape[3]))
        mask = (torch.from_numpy(truth["mask"]) * intensity).clamp(max=1)
        return images * (1 - mask) + torch.from_numpy(truth["pattern"]) * mask

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        channels, height, width = shape
        draw = np.random.default_rng(self.seed)
        if self.cells == 0:
            pattern = draw.random(shape, np.float32)
        else:
            coarse = torch.from_numpy(draw.random((1, channels, self.cells, self.cells), np.float32))
            smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0]
            pattern = smooth.clamp(0, 1).numpy()
        return {"pattern": pattern, "mask": np.full((height, width), self.opacity, np.float32)}
