"""Dense: an additive pattern over the whole image, small in L2 (blended images, sine waves, faint watermarks)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Parameters


def start(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
    return {"delta": 0.01 * torch.randn(count, *shape, generator=generator)}


def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    return clip(images + intensity * parameters["delta"].unsqueeze(1))


def penalty(parameters: Parameters) -> Tensor:
    return parameters["delta"].flatten(1).square().sum(1).clamp(min=1e-12).sqrt()


FAMILY = Family(
    name="dense",
    unit="L2 norm",
    start=start,
    stamp=stamp,
    penalty=penalty,
    measure=penalty,
    learning_rate=0.05,
    weight=0.2,
    cap=lambda shape: 0.5 * math.sqrt(math.prod(shape)),
    spread=0.15,
)
