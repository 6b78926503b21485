"""A recovered trigger: the family's parameters for one target, and how to stamp it on images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Candidate:
    """One recovered trigger.

    Attributes:
        family: the trigger family's name (sparse, dense, warp, tone).
        target: the class that stamped images go to.
        sources: the classes it was recovered on; empty means all.
        parameters: the family's tensors for this one trigger, on the CPU.
        size: the family's size of the trigger (pixels, L2, RMS ...).
        success: share of the search images that went to the target, 0..1.
        metrics: how it compares: index, ratio, score ...; what the rules read.
        stamp: images (N, C, H, W) in [0, 1], intensity -> stamped images in [0, 1].
    """

    family: str
    target: int
    sources: tuple[int, ...]
    parameters: Mapping[str, Tensor]
    size: float
    success: float
    metrics: Mapping[str, float]
    stamp: Callable[[Tensor, float], Tensor] = field(repr=False, compare=False)
