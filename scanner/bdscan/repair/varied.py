"""How a repair's few clean images are varied, anew in every step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.repair.recipe import Recipe

ANGLE, ZOOM, SLANT = 0.26, 0.15, 0.2  # radians, and shares of the image's side, at most


def varied(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in [0, 1], each shifted by its own few pixels, half of them mirrored where that is allowed, a
    third of them mixed with another one, and all turned, zoomed and slanted where that is."""
    count, _, height, width = images.shape
    most = max(1, round(recipe.shift * min(height, width)))
    if recipe.mirror:
        turn = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
        images = torch.where(turn.to(images.device), images.flip(3), images)
    padded = F.pad(images, (most,) * 4, mode="replicate")
    places = torch.randint(0, 2 * most + 1, (count, 2), generator=generator).tolist()
    moved = torch.stack([p[:, y : y + height, x : x + width] for p, (y, x) in zip(padded, places, strict=True)])
    share = 1 - 0.5 * torch.rand(count, 1, 1, 1, generator=generator)
    share[torch.rand(count, generator=generator) > 1 / 3] = 1.0
    other = moved[torch.randperm(count, generator=generator).to(images.device)]
    share = share.to(images.device)
    mixed = share * moved + (1 - share) * other
    return turned(mixed, generator) if recipe.turn else mixed


def turned(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (N, C, H, W) turned by up to ANGLE, zoomed by up to ZOOM each way and slanted by up to SLANT; what
    comes in at the edges is the edge's own."""
    angle, wide, high, slant = 2 * torch.rand(4, len(images), generator=generator) - 1
    cosine, sine, zero = (ANGLE * angle).cos(), (ANGLE * angle).sin(), torch.zeros(len(images))
    wide, high = 1 + ZOOM * wide, 1 + ZOOM * high
    rows = (cosine * wide, SLANT * slant - sine * high, zero), (sine * wide, cosine * high, zero)
    matrix = torch.stack([torch.stack(row, 1) for row in rows], 1).to(images.device)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
