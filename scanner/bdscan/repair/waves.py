"""The neighbours of a sine wave: what inversion takes for the planted one is often the wave beside it.

On a GTSRB network trained with six cycles (SIG) inversion found five. Unlearned at any intensity, five leaves six
working on a third of the images. So every wave in the pool brings those of one cycle more and less, in four phases, and
stronger: the smallest wave that works is two thirds of the planted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bdscan.repair.planted import Planted

PHASES = 4
STRONGER = 1.5
DRAWN = 6  # a step: all 36 would take the place of every other trigger


def neighbours(triggers: Sequence[Planted], images: Tensor) -> list[list[Planted]]:
    """Waves beside each of those among `triggers`, STRONGER; `images` (N, C, H, W) tell shape and device."""
    waves = [(t, STRONGER * t.on_grey(images)) for t in triggers if t.family == "wave"]
    return [list(_beside(trigger, change)) for trigger, change in waves]


def drawn(beside: Sequence[Sequence[Planted]], generator: torch.Generator) -> Iterator[Planted]:
    """DRAWN of the neighbours of each wave."""
    for waves in beside:
        for i in torch.randperm(len(waves), generator=generator)[:DRAWN].tolist():
            yield waves[i]


def cycles(change: Tensor) -> tuple[int, int]:
    """How often the strongest wave in `change` (C, H, W) repeats over the image, downwards and across."""
    spectrum = torch.fft.rfft2(change.mean(0)).abs()
    down, across = divmod(int(spectrum.argmax()), spectrum.shape[1])
    height = change.shape[1]
    return (down - height if down > height // 2 else down), across


def _beside(trigger: Planted, change: Tensor) -> Iterator[Planted]:
    down, across = cycles(change)
    for y, x in sorted({(down + i, across + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(0, 0)}):
        for phase in range(PHASES):
            yield _wave(trigger, change, y, x, 2 * math.pi * phase / PHASES)


def _wave(trigger: Planted, change: Tensor, down: int, across: int, phase: float) -> Planted:
    """As strong in each channel as `change` (C, H, W), with so many cycles over the image."""
    _, height, width = change.shape
    y = torch.arange(height, device=change.device)[:, None] / height
    x = torch.arange(width, device=change.device)[None] / width
    pattern = change.abs().amax((1, 2))[:, None, None] * torch.sin(2 * math.pi * (down * y + across * x) + phase)

    def stamp(images: Tensor, intensity: float) -> Tensor:
        return (images + intensity * pattern).clamp(0, 1)

    return Planted(trigger.target, trigger.sources, trigger.family, stamp)
