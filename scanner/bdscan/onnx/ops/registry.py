"""One table of operators: name -> pure function.

A handler gets the node's inputs as positional tensors (None where an optional input is absent), the
attributes and the opset of the graph, and returns a tensor or a tuple of them.  `host` names the inputs
that are read as plain numbers (shapes, axes, sizes): they stay on the CPU whatever the model's device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError

Attrs = Mapping[str, Any]
Result = Tensor | tuple[Tensor | None, ...]
Handler = Callable[..., Result]

MAX_ELEMENTS = 2**28  # of a tensor whose size the file chooses (ConstantOfShape, Expand, Pad, ...)


@dataclass(frozen=True)
class Operator:
    handler: Handler
    host: frozenset[int] = frozenset()


OPERATORS: dict[str, Operator] = {}


def op(*names: str, host: Sequence[int] = ()) -> Callable[[Handler], Handler]:
    """Register a handler under each of `names`."""

    def register(handler: Handler) -> Handler:
        for name in names:
            OPERATORS[name] = Operator(handler, frozenset(host))
        return handler

    return register


def host_inputs(name: str) -> frozenset[int]:
    """Positions of the inputs that an operator reads as plain numbers."""
    return OPERATORS[name].host if name in OPERATORS else frozenset()


def ints(value: Tensor | Sequence[int] | int) -> list[int]:
    """A shape-like input (tensor on the CPU, or attribute) as Python integers."""
    if isinstance(value, Tensor):
        return [int(v) for v in value.reshape(-1).tolist()]
    return [value] if isinstance(value, int) else [int(v) for v in value]


def axes_of(tensor: Tensor | None, attrs: Attrs, rank: int, name: str = "axes") -> list[int] | None:
    """Axes given as an input (newer opsets) or an attribute (older), made non-negative; None if absent."""
    raw = tensor if tensor is not None else attrs.get(name)
    return None if raw is None else [axis_of(a, rank) for a in ints(raw)]


def axis_of(axis: int, rank: int) -> int:
    """A possibly negative axis as 0 <= axis < rank (rank 0 counts as 1)."""
    if not -max(rank, 1) <= axis < max(rank, 1):
        raise OnnxError(f"axis {axis} is out of range for rank {rank}")
    return axis % max(rank, 1)


def check_size(shape: Sequence[int]) -> None:
    """Refuse a size beyond MAX_ELEMENTS, or a negative one, before anything is allocated."""
    total = 1
    for size in shape:
        if size < 0:
            raise OnnxError(f"a tensor of negative size {list(shape)} is asked for")
        total *= size
    if total > MAX_ELEMENTS:
        raise OnnxError(f"a tensor of {total} elements is asked for; the limit is {MAX_ELEMENTS}")


def as_float(x: Tensor) -> Tensor:
    """Integers as float32, because torch has few integer kernels for pooling and the like."""
    return x if x.is_floating_point() else x.to(torch.float32)
