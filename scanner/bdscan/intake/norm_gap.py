"""How far clean images, as presented, are from what the network saw in training.

A batch normalisation keeps the mean and variance that its inputs had in training. Images presented as in training give
the same ones at the first such layer, whatever their labels; another scale or mean shows at once, even in a network
that classifies as well under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]

NORMS: frozenset[Function] = frozenset({functional.batch_norm, torch.batch_norm})
NAMES = ("input", "running_mean", "running_var")


class FirstNorm(TorchFunctionMode):
    """Keep what goes into the first batch normalisation of a run: input (N, C, ...), running mean and variance (C,)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: tuple[Tensor, Tensor, Tensor] | None = None

    def __torch_function__(
        self,
        func: Function,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in NORMS and self.found is None:
            if func is torch.batch_norm:
                values = (args[0], *args[3:5])
            else:
                named = dict(zip(NAMES, args, strict=False)) | (kwargs or {})
                values = tuple(named[name] for name in NAMES)
            if all(isinstance(value, Tensor) for value in values):
                self.found = values
        return func(*args, **(kwargs or {}))

    def gap(self) -> float | None:
        """Mean Kullback-Leibler divergence (nats a channel) of the observed from the kept normal distributions."""
        if self.found is None:
            return None
        x, mean, variance = (value.detach().double() for value in self.found)
        seen = x.transpose(0, 1).flatten(1)
        ratio = seen.var(1).clamp_min(1e-12) / variance.clamp_min(1e-12)
        shift = (seen.mean(1) - mean).square() / variance.clamp_min(1e-12)
        return float((ratio - 1 - ratio.log() + shift).mean() / 2)
