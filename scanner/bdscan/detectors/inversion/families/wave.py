"""Wave: one plane sine wave over the whole image, the same in all channels (the SIG kind)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Parameters

LARGEST = 64 / 255  # amplitude; SIG's own is 20 to 60 of 255


def start(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
    """Amplitude (L,) in units of the full range, cycles per image along x and y (L, 2), phase in turns (L,)."""
    return {
        "amplitude": 0.01 * torch.rand(count, generator=generator),
        "cycles": 12 * torch.rand(count, 2, generator=generator) - 6,
        "phase": torch.rand(count, generator=generator),
    }


def pattern(parameters: Parameters, height: int, width: int) -> Tensor:
    """(L, H, W), in units of the full range."""
    device = parameters["phase"].device
    y = torch.arange(height, device=device).view(1, height, 1) / height
    x = torch.arange(width, device=device).view(1, 1, width) / width
    across, down = (parameters["cycles"][:, i].view(-1, 1, 1) for i in (0, 1))
    turns = across * x + down * y + parameters["phase"].view(-1, 1, 1)
    return parameters["amplitude"].view(-1, 1, 1) * torch.sin(2 * math.pi * turns)


def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    wave = pattern(parameters, images.shape[-2], images.shape[-1])
    return clip(images + intensity * wave[:, None, None])


def penalty(parameters: Parameters) -> Tensor:
    return parameters["amplitude"].abs()


FAMILY = Family(
    name="wave",
    unit="amplitude, full range",
    start=start,
    stamp=stamp,
    penalty=penalty,
    measure=penalty,
    learning_rate=0.02,
    weight=0.5,
    cap=lambda shape: LARGEST,
    spread=0.25,
)
