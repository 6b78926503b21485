"""What the layers of a network answer, and how far a student's answers moved from the original's.

Ten classes' probabilities on fifty images say little about what a network does on others; its layers' answers say far
more (hints, Romero et al. 2015). Held to them on clean images,
a student unlearns the trigger and little else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bdscan.intake.calls import CONV, LINEAR, Function


@dataclass
class Layers(TorchFunctionMode):
    """Collect the results of convolutions and linear calls, in their order; none of TorchScript, which is not seen."""

    results: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Function, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if (func in CONV or func in LINEAR) and isinstance(result, Tensor):
            self.results.append(result)
        return result


def moved(now: Sequence[Tensor], usual: Sequence[Tensor], rows: Tensor) -> Tensor | None:
    """Mean over layers of the squared change of their answers, relative to the answers' own mean square.

    Args:
        now: the student's, of images (M, ...) of which the first N are the original's.
        usual: the original's (N, ...).
        rows: bool (N,), images that count.

    Returns None where there is nothing to compare: no layer was seen, or a graph takes its batch in pieces.
    """
    if not usual or len(now) != len(usual) or not bool(rows.any()):
        return None
    parts = []
    for own, original in zip(now, usual, strict=True):
        if len(original) != len(rows) or own.shape[1:] != original.shape[1:]:
            return None
        wanted = original[rows].float()
        change = own[: len(rows)][rows].float() - wanted
        parts.append(change.square().mean() / wanted.square().mean().clamp(min=1e-12))
    return torch.stack(parts).mean()
