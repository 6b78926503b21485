"""After VSSC (Wang et al.): a visible object that belongs to the scene, with its own place, size and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bdscan.zoo.attacks.cutouts import cutout, shrunk
from bdscan.zoo.attacks.interface import Attack

TILT = 0.35  # radians
SHADOW = 0.35  # light lost in the middle of the object's shadow
SHADING = 0.25  # an edge of the object is brighter or darker by this share


@dataclass(frozen=True, kw_only=True)
class Semantic(Attack):
    """`picture` (bomb, flower, figure, or the path of a cut-out of one's own) put into each image in its own way.

    Drawn for each image: place, size (`smallest` to `largest`, shares of the side), tilt, mirroring and the side the
    light comes from. The object takes the brightness of its surroundings and throws a soft shadow. Intensity is the
    opacity of both, up to 1.

    The paper has a diffusion model draw the object into the scene and a captioner check it. Neither is done here: a
    composited object is one of few looks, and does not bend or hide behind others. A card with a path needs that file.
    """

    picture: str = "flower"
    smallest: float = 0.3
    largest: float = 0.5

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        channels, height, width = images.shape[1:]
        side = min(height, width)
        colour, alpha = shrunk(cutout(self.picture), max(2, round(self.largest * side)), channels)
        draws = torch.from_numpy(rng.random((len(images), 6), np.float32))
        grid = self._grid(draws, height, width)
        weighted = torch.cat([colour * alpha, alpha[None]])[None].expand(len(images), -1, -1, -1)
        placed = functional.grid_sample(weighted, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        alpha = placed[:, -1:]
        seen = placed[:, :-1] / alpha.clamp(min=1e-6)
        strength = min(intensity, 1.0)
        thrown = max(1, side // 24)  # to the right and below
        shadow = functional.pad(functional.avg_pool2d(alpha, 3, 1, 1), (thrown, 0, thrown, 0))[:, :, :height, :width]
        ground = images * (1 - strength * SHADOW * shadow)
        return ground.lerp((seen * self._light(images, alpha, grid, draws)).clamp(0, 1), strength * alpha)

    def _grid(self, draws: Tensor, height: int, width: int) -> Tensor:
        """Where each pixel (N,H,W,2) lies on the object, which spans [-1,1]."""
        across, down, scale, tilt, mirror = draws[:, :5].T
        side = min(height, width)
        size = side * (self.smallest + scale * (self.largest - self.smallest))
        turn = (2 * tilt - 1) * TILT
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        x = (x - (size / 2 + across * (width - size))[:, None, None]) * (2 / size)[:, None, None]
        y = (y - (size / 2 + down * (height - size))[:, None, None]) * (2 / size)[:, None, None]
        cosine, sine = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
        sign = torch.where(mirror < 0.5, -1.0, 1.0)[:, None, None]
        return torch.stack([sign * (x * cosine + y * sine), y * cosine - x * sine], 3)

    def _light(self, images: Tensor, alpha: Tensor, grid: Tensor, draws: Tensor) -> Tensor:
        """How bright the object is at each pixel (N,1,H,W): by what lay under it, and brighter towards the light."""
        under = (images.mean(1, keepdim=True) * alpha).sum((2, 3), keepdim=True)
        under = under / alpha.sum((2, 3), keepdim=True).clamp(min=1e-6)
        from_side = torch.where(draws[:, 5] < 0.5, -1.0, 1.0)[:, None, None]
        return (0.7 + 0.6 * under) * (1 + SHADING * (from_side * grid[..., 0]).clamp(-1, 1))[:, None]
