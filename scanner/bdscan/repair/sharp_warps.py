"""Warps to sharpen: from a recovered warp on, up to twice its size.

Inversion finds a warp of a third of the planted one's size and of another shape (their fields correlate by 0.1 on one
CIFAR-10 network), and what it teaches left a fifth of the planted one's success.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.inversion.families import warp
from bdscan.repair.planted import Planted
from bdscan.repair.sharpen import LARGER, SELDOM, Sharp, at_most, first

RATE = 0.02


def warps(triggers: Sequence[Planted], images: Tensor, labels: Tensor) -> list[Sharp]:
    """The first warps of each target; `images` (N, C, H, W) tell shape and device."""
    found = []
    for trigger in first(triggers, "warp", labels):
        grid = _grid(trigger, images)
        found.append(Sharp(trigger, grid, _bend, functools.partial(at_most, LARGER * grid.norm()), RATE, SELDOM))
    return found


def _grid(trigger: Planted, images: Tensor) -> Tensor:
    """The control displacements (2, 7, 7) in half images, read off what becomes of two ramps."""
    channels, height, width = images.shape[1:]
    across = torch.linspace(0, 1, width, device=images.device).expand(height, width)
    down = torch.linspace(0, 1, height, device=images.device)[:, None].expand(height, width)
    ramps = torch.stack([across, down])[:, None].expand(2, channels, height, width).contiguous()
    field = 2 * (trigger.stamp(ramps, 1.0) - ramps)[:, :1]
    return F.interpolate(field, (warp.GRID, warp.GRID), mode="bilinear", align_corners=True)[:, 0]


def _bend(grid: Tensor, images: Tensor, intensity: float) -> Tensor:
    return warp.stamp({"grid": grid[None]}, images[None], intensity)[0]
