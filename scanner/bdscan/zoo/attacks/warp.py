"""WaNet (Nguyen and Tran 2021): one fixed smooth warp of the image, with noisily warped cover samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bdscan.zoo.attacks.interface import Attack, Case


@dataclass(frozen=True, kw_only=True)
class Warp(Attack):
    """A control grid of `grid` x `grid` random displacements, bicubic to full size. Intensity scales the displacements.

    `strength` is the control grid's mean absolute displacement as a share of the image's side (WaNet's s / 2 pixels).
    `cover` times the poison rate, images with the warp plus noise keep their labels, so that only the exact warp fires.
    """

    grid: int = 4
    strength: float = 0.05
    seed: int = 0
    cover: float = 1.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        flow = torch.from_numpy(self.truth((images.shape[1], images.shape[2], images.shape[3]))["flow"])
        return shift(images, intensity * flow.expand(len(images), *flow.shape))

    def apply_noisy(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """The warp with a further displacement of up to half a pixel, its own at every pixel of every image."""
        channels, height, width = images.shape[1:]
        flow = torch.from_numpy(self.truth((channels, height, width))["flow"])
        noise = torch.from_numpy(rng.uniform(-0.5, 0.5, (len(images), 2, height, width)).astype(np.float32))
        return shift(images, intensity * (flow + noise))

    def cases(self) -> tuple[Case, ...]:
        attack = Case(self.apply, self.target)
        return (attack, Case(self.apply_noisy, None, weight=self.cover)) if self.cover else (attack,)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        _, height, width = shape
        control = np.random.default_rng(self.seed).uniform(-1, 1, (1, 2, self.grid, self.grid)).astype(np.float32)
        control /= np.abs(control).mean()
        smooth = functional.interpolate(torch.from_numpy(control), (height, width), mode="bicubic", align_corners=True)
        side = torch.tensor([width, height]).view(2, 1, 1)
        return {"flow": (smooth[0] * side * self.strength).numpy()}


def shift(images: Tensor, flow: Tensor) -> Tensor:
    """Read images (N,C,H,W) at positions displaced by flow (N,2,H,W): pixels to the right, pixels down."""
    height, width = images.shape[2:]
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (right + flow[:, 0]) * (2 / (width - 1)) - 1
    y = (down + flow[:, 1]) * (2 / (height - 1)) - 1
    grid = torch.stack([x, y], 3).clamp(-1, 1)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)
