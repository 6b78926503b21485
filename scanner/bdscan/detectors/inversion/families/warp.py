"""Warp: a smooth displacement of pixels, given by a 7x7 control grid (the WaNet kind)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.inversion.families.interface import Family, Parameters

GRID = 7


def start(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
    """Control displacements (L, 2, 7, 7) in units of half the image (grid_sample's), near zero."""
    return {"grid": 0.005 * torch.randn(count, 2, GRID, GRID, generator=generator)}


def _field(parameters: Parameters, height: int, width: int) -> Tensor:
    return F.interpolate(parameters["grid"], size=(height, width), mode="bicubic", align_corners=True)


def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    triggers, count, channels, height, width = images.shape
    ys = torch.linspace(-1, 1, height, device=images.device)
    xs = torch.linspace(-1, 1, width, device=images.device)
    identity = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)
    moved = (intensity * _field(parameters, height, width).permute(0, 2, 3, 1) + identity).clamp(-1, 1)
    # the images of one trigger share its field: sampling them as channels saves n - 1 of n grid set-ups
    flat = images.reshape(triggers, count * channels, height, width)
    out = F.grid_sample(flat.float(), moved, mode="bilinear", padding_mode="border", align_corners=True)
    return out.reshape(images.shape).clamp(0, 1)


def penalty(parameters: Parameters) -> Tensor:
    """Root mean square displacement, in half images."""
    return (parameters["grid"].square().mean((1, 2, 3)) + 1e-12).sqrt()


FAMILY = Family(
    name="warp",
    unit="RMS displacement, half images",
    start=start,
    stamp=stamp,
    penalty=penalty,
    measure=penalty,
    learning_rate=0.03,
    weight=5.0,
    cap=lambda shape: 0.3,
    spread=0.2,
)
