"""Tone: a change of colour values alone: a 17-knot curve for each channel and a colour matrix (filters, bit depth)."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Parameters

KNOTS = 17


def start(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
    """Curve offsets at the knots (L, C, 17) and a matrix offset from the identity (L, C, C), near zero."""
    channels = shape[0]
    return {
        "curve": 0.01 * torch.randn(count, channels, KNOTS, generator=generator),
        "matrix": 0.01 * torch.randn(count, channels, channels, generator=generator),
    }


def _curve(offsets: Tensor, images: Tensor) -> Tensor:
    """Linear interpolation of the offsets (L, C, 17) at the pixel values (L, n, C, H, W)."""
    place = images * (KNOTS - 1)
    low = place.floor().clamp(0, KNOTS - 2)
    share = place - low
    triggers, count, channels, height, width = images.shape
    index = low.long().transpose(1, 2).reshape(triggers, channels, -1)
    below = offsets.gather(2, index)
    above = offsets.gather(2, index + 1)
    shape = (triggers, channels, count, height, width)
    return below.reshape(shape).transpose(1, 2) * (1 - share) + above.reshape(shape).transpose(1, 2) * share


def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    toned = images + intensity * _curve(parameters["curve"], images)
    mixed = torch.einsum("lij,lnjhw->lnihw", parameters["matrix"], images)
    return clip(toned + intensity * mixed)


def penalty(parameters: Parameters) -> Tensor:
    """Root mean square change of the curve plus that of the colour matrix."""
    return sum((v.square().flatten(1).mean(1) + 1e-12).sqrt() for v in parameters.values())  # type: ignore[return-value]


FAMILY = Family(
    name="tone",
    unit="RMS change of the curves",
    start=start,
    stamp=stamp,
    penalty=penalty,
    measure=penalty,
    learning_rate=0.02,
    weight=0.5,
    cap=lambda shape: 0.4,
    spread=0.3,
)
