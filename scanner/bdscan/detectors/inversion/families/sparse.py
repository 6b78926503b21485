"""Sparse: few pixels changed by any amount (P1, eq. 4 and 5; eq. 6 is the fast variant)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Parameters

GAMMA = 10.0  # P1, eq. 5: flattens tanh in the penalty so that the optimisation can still switch a pixel off


def _rise(b: Tensor) -> Tensor:
    return 0.5 * (torch.tanh(b) + 1)


def start(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
    """b_p and b_n (L, C, H, W), drawn where tanh still has a slope: a change of 0.2 to 7 % a pixel."""
    return {
        name: torch.empty(count, *shape).uniform_(-3.0, -1.3, generator=generator) for name in ("positive", "negative")
    }


def change(parameters: Parameters) -> Tensor:
    """The additive change (L, C, H, W) in [-1, 1]: P1, eq. 4 with maxp = 1."""
    return _rise(parameters["positive"]) - _rise(parameters["negative"])


def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    return clip(images + intensity * change(parameters).unsqueeze(1))


def stamp_fast(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    """P1, eq. 6: clipped linear changes instead of tanh. Faster to converge; it ranks labels and never decides."""
    linear = [clip(0.5 + 0.25 * parameters[name]) for name in ("positive", "negative")]
    return clip(images + intensity * (linear[0] - linear[1]).unsqueeze(1))


def penalty(parameters: Parameters) -> Tensor:
    """P1, eq. 5: maximum over channels, summed over pixels."""
    return sum(_rise(b / GAMMA).amax(1).sum((1, 2)) for b in parameters.values())  # type: ignore[return-value]


def measure(parameters: Parameters) -> Tensor:
    """Pixels changed, each counted by its largest change: a pixel fully switched counts 1, a faint one its share."""
    return change(parameters).abs().amax(1).sum((1, 2))


def measure_fast(parameters: Parameters) -> Tensor:
    linear = [clip(0.5 + 0.25 * parameters[name]) for name in ("positive", "negative")]
    return (linear[0] - linear[1]).abs().amax(1).sum((1, 2))


FAMILY = Family(
    name="sparse",
    unit="pixels changed",
    start=start,
    stamp=stamp,
    penalty=penalty,
    measure=measure,
    learning_rate=0.5,
    weight=1e-2,
    cap=lambda shape: 0.5 * shape[1] * shape[2],
    spread=0.25,
    always_reaches=True,
)

FAST = replace(FAMILY, name="fast", stamp=stamp_fast, measure=measure_fast)
