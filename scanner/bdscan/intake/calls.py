"""What a network computes, seen from outside while it runs.

A torch function mode sees every torch call of any Python network, be it an nn.Module, a functional one or the ONNX
evaluator. So the final softmax, the last linear layer and the amount of work are found in one way for all of them.
Calls are told apart by their rank among the calls of their kind, which is the same in every run of a network.
TorchScript runs outside Python and is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]

SOFTMAX: frozenset[Function] = frozenset(
    {
        torch.softmax,
        functional.softmax,
        Tensor.softmax,
        torch.special.softmax,
        torch.log_softmax,
        functional.log_softmax,
        Tensor.log_softmax,
        torch.special.log_softmax,
    }
)
LINEAR: frozenset[Function] = frozenset(
    {functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.addmm, Tensor.addmm}
)
CONV: frozenset[Function] = frozenset(
    {functional.conv1d, functional.conv2d, functional.conv3d, functional.conv_transpose2d}
)

ADD: frozenset[Function] = frozenset({torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__})


@dataclass(frozen=True)
class Linear:
    """One call of the linear kind: its rank, input (N, D), weight (K, D), bias (K,) or None, and result (N, K)."""

    rank: int
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    result: Tensor


@dataclass
class Onlooker(TorchFunctionMode):
    """Is shown every call that results in a tensor, and changes none."""

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Function, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.see(func, args, kwargs or {}, result)
        return result

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
        raise NotImplementedError


@dataclass
class Watch(Onlooker):
    """Record softmax and linear calls and count multiply-accumulate operations."""

    softmaxes: list[Tensor] = field(default_factory=list)
    linears: list[Linear | None] = field(default_factory=list)
    sums: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    macs: int = 0

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
        if func in SOFTMAX:
            self.softmaxes.append(result)
        elif func in LINEAR:
            self.linears.append(as_linear(func, args, kwargs, result, len(self.linears)))
            self.macs += result.numel() * _inner(func, args, kwargs)
        elif func in CONV:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            self.macs += result.numel() * weight[0].numel()
        elif func in ADD and len(args) == 2 and all(isinstance(arg, Tensor) for arg in args):
            self.sums.append((args[0], args[1], result))


@dataclass
class Layers(Onlooker):
    """Keep what convolutions and linear calls answer, in their order."""

    results: list[Tensor] = field(default_factory=list)

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
        if func in CONV or func in LINEAR:
            self.results.append(result)


def _inner(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Length of the dimension that a linear call sums over."""
    operands = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    first = operands[1] if func in (torch.addmm, Tensor.addmm) else operands[0]
    return int(first.shape[-1])


def as_linear(
    func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor, rank: int
) -> Linear | None:
    """The call as x @ weight.T + bias over one row per image, or None where it is another kind of product."""
    if kwargs and func is not functional.linear:
        return None
    if func is functional.linear:
        names = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        x, weight, bias = names["input"], names["weight"], names.get("bias")
    elif func in (torch.addmm, Tensor.addmm):
        bias, x, weight = args[0], args[1], args[2].T if args[2].ndim == 2 else args[2]
    else:
        x, weight, bias = args[0], args[1].T if args[1].ndim == 2 else args[1], None
    if x.ndim != 2 or weight.ndim != 2 or result.ndim != 2:
        return None
    return Linear(rank, x, weight, bias if bias is None or bias.ndim == 1 else None, result)


@dataclass(frozen=True)
class Place:
    """Which call of a kind: the `rank`-th of every `period` calls (a graph with a fixed batch runs several times)."""

    rank: int
    period: int


class Bypass(TorchFunctionMode):
    """Let the softmax call of one place return its input unchanged."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place, self.seen = place, -1

    def __torch_function__(
        self, func: Function, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in SOFTMAX:
            self.seen += 1
            if self.seen % self.place.period == self.place.rank:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


@dataclass
class Capture(Onlooker):
    """Keep the input of the linear call of one place."""

    place: Place
    seen: int = -1
    input: Tensor | None = None

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
        if func in LINEAR:
            self.seen += 1
            if self.seen == self.place.rank:
                call = as_linear(func, args, kwargs, result, self.place.rank)
                self.input = call.input if call else None


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one piece of memory, reshaped at most."""
    return a.data_ptr() == b.data_ptr() and a.numel() == b.numel()
