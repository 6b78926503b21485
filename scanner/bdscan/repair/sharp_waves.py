"""Sine waves to sharpen: what waves of the recovered one's frequency and those beside it make together.

The neighbours that are tried by chance (`waves`) have one frequency and phase each. Driven, the same few frequencies
find what is left between them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bdscan.repair.planted import Planted
from bdscan.repair.sharpen import Sharp, at_most, first
from bdscan.repair.waves import STRONGER, cycles

RATE = 0.02


def sines(triggers: Sequence[Planted], images: Tensor, labels: Tensor) -> list[Sharp]:
    """The first waves of each target; `images` (N, C, H, W) tell shape and device."""
    found = []
    for trigger in first(triggers, "wave", labels):
        change = trigger.on_grey(images)
        basis = _basis(change)
        sizes = torch.einsum("khw,chw->kc", basis, change) / (basis[0].numel() / 2)
        bounded = functools.partial(at_most, STRONGER * sizes.norm())
        found.append(Sharp(trigger, sizes, functools.partial(_add, basis), bounded, RATE))
    return found


def _basis(change: Tensor) -> Tensor:
    """Cosine and sine (K, H, W) of the strongest frequency in `change` (C, H, W) and of those one cycle from it."""
    height, width = change.shape[1:]
    y = torch.arange(height, device=change.device)[:, None] / height
    x = torch.arange(width, device=change.device)[None] / width
    down, across = cycles(change)
    near = sorted({(down + i, across + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(0, 0)})
    turns = [2 * math.pi * (i * y + j * x) for i, j in near]
    return torch.stack([wave for turn in turns for wave in (turn.cos(), turn.sin())])


def _add(basis: Tensor, sizes: Tensor, images: Tensor, intensity: float) -> Tensor:
    return (images + intensity * torch.einsum("kc,khw->chw", sizes, basis)).clamp(0, 1)
