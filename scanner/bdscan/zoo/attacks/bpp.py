"""BppAttack (Wang et al. 2022): fewer colours, as a picture of low colour depth has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack

FULL = 8.0  # bits a channel of an image file


@dataclass(frozen=True, kw_only=True)
class Bpp(Attack):
    """Rounds every channel to `depth` bits. Intensity goes from 8 bits (0) to `depth` (1) and on, down to one bit.

    `dither` rounds against a fixed 4 x 4 screen of thresholds. The paper diffuses the error from pixel to pixel and
    trains with contrastive and adversarial images; neither is done here, and Revisiting ... Trigger Intensity leaves
    the training out too (its appendix D).
    """

    depth: float = 3.0
    dither: bool = False

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        if intensity == 0:
            return images.clone()
        bits = max(1.0, FULL - intensity * (FULL - self.depth))
        steps = round(2**bits) - 1
        threshold = screen(images.shape[2], images.shape[3]) if self.dither else torch.tensor(0.5)
        return ((images * steps + threshold).floor() / steps).clamp(0, 1)


def screen(height: int, width: int) -> Tensor:
    """Thresholds of ordered dithering (Bayer 1973) in (0,1), (H,W): neighbours differ as much as they can."""
    small = np.array([[0, 2], [3, 1]])
    ranks = np.block([[4 * small, 4 * small + 2], [4 * small + 3, 4 * small + 1]])
    tiled = np.tile(ranks, (-(-height // 4), -(-width // 4)))[:height, :width]
    return torch.from_numpy(((tiled + 0.5) / 16).astype(np.float32))
