"""Sparse: few pixels changed by any amount (P1, eq. 4 and 5; eq. 6 is the fast variant)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Parameters

CELLS = 64  # a side at most: in larger images a cell is several pixels, see `start`
GAMMA = 10.0  # P1, eq. 5: flattens tanh in the penalty so that the optimisation can still switch a pixel off


def _rise(b: Tensor) -> Tensor:
    return 0.5 * (torch.tanh(b) + 1)


def start(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
    """b_p and b_n (L, C, h, w), drawn where tanh still has a slope: a change of 0.2 to 7 % a cell.

    A cell is a pixel, or a square of pixels in images above CELLS a side: a network of 224x224 faces sends every image
    to any class for forty single pixels, fewer than a planted patch has.
    """
    cells = (shape[0], *grid(shape))
    return {
        name: torch.empty(count, *cells).uniform_(-3.0, -1.3, generator=generator) for name in ("positive", "negative")
    }


def grid(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Cells down and across: the image's own pixels, or squares of them."""
    side = -(-max(shape[1:]) // CELLS)
    return max(shape[1] // side, 1), max(shape[2] // side, 1)


def change(parameters: Parameters) -> Tensor:
    """The additive change (L, C, h, w) of each cell in [-1, 1]: P1, eq. 4 with maxp = 1."""
    return _rise(parameters["positive"]) - _rise(parameters["negative"])


def spread(cells: Tensor, images: Tensor) -> Tensor:
    """A change (L, C, h, w) of cells as one of pixels (L, 1, C, H, W)."""
    size = images.shape[-2:]
    return (cells if cells.shape[-2:] == size else F.interpolate(cells, size=size, mode="nearest")).unsqueeze(1)


def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    return clip(images + intensity * spread(change(parameters), images))


def stamp_fast(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
    """P1, eq. 6: clipped linear changes instead of tanh. Faster to converge; it ranks labels and never decides."""
    linear = [clip(0.5 + 0.25 * parameters[name]) for name in ("positive", "negative")]
    return clip(images + intensity * spread(linear[0] - linear[1], images))


def penalty(parameters: Parameters) -> Tensor:
    """P1, eq. 5: maximum over channels, summed over pixels."""
    return sum(_rise(b / GAMMA).amax(1).sum((1, 2)) for b in parameters.values())  # type: ignore[return-value]


def measure(parameters: Parameters) -> Tensor:
    """Cells changed, each counted by its largest change: a cell fully switched counts 1, a faint one its share."""
    return change(parameters).abs().amax(1).sum((1, 2))


def measure_fast(parameters: Parameters) -> Tensor:
    linear = [clip(0.5 + 0.25 * parameters[name]) for name in ("positive", "negative")]
    return (linear[0] - linear[1]).abs().amax(1).sum((1, 2))


FAMILY = Family(
    name="sparse",
    unit="pixels or cells changed",
    start=start,
    stamp=stamp,
    penalty=penalty,
    measure=measure,
    learning_rate=0.5,
    weight=1e-2,
    cap=lambda shape: 0.5 * math.prod(grid(shape)),
    spread=0.25,
    always_reaches=True,
)

FAST = replace(FAMILY, name="fast", stamp=stamp_fast, measure=measure_fast)
