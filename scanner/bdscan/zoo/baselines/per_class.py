"""What a trigger inversion says of each class of one network: a score, an alarm, and the trigger that it recovered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Stamp = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PerClass:
    """Of K classes.

    Attributes:
        scores: (K,), larger is more suspicious.
        flagged: the classes that the method calls backdoored.
        stamps: class -> images (N,C,H,W) in [0,1] -> the same with the recovered trigger; no entry where none was made.
        details: what the score was made of, (K,) each.
    """

    scores: tuple[float, ...]
    flagged: frozenset[int]
    stamps: Mapping[int, Stamp] = field(default_factory=dict, repr=False, compare=False)
    details: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def others(labels: Tensor, target: int, most: int) -> Tensor:
    """Rows (n,) of the images that are not of `target`, at most `most`, evenly spaced."""
    rows = (labels != target).nonzero()[:, 0]
    return rows if len(rows) <= most else rows[torch.linspace(0, len(rows) - 1, most).long()]


def floats(values: Sequence[float]) -> tuple[float, ...]:
    """Six significant digits: a published table holds no more."""
    return tuple(float(f"{value:.6g}") for value in values)
