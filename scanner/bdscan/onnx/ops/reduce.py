"""Reductions, arg-reductions and running sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bdscan.onnx.ops.registry import Attrs, Result, axes_of, axis_of, ints, op

Reduction = Callable[[Tensor, list[int]], Tensor]


def _product(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True, dtype=x.dtype)
    return x


def _extreme(x: Tensor, axes: list[int], largest: bool) -> Tensor:
    if math.prod(x.shape[a] for a in axes) == 0:  # of nothing: the identity of the operation
        limits = None if x.is_floating_point() or x.dtype == torch.bool else torch.iinfo(x.dtype)
        low, high = (-math.inf, math.inf) if limits is None else (limits.min, limits.max)
        fill = not largest if x.dtype == torch.bool else (low if largest else high)
        return torch.full([1 if i in axes else n for i, n in enumerate(x.shape)], fill, dtype=x.dtype)
    return x.amax(axes, keepdim=True) if largest else x.amin(axes, keepdim=True)


def _sum(x: Tensor, axes: list[int]) -> Tensor:
    return x.sum(axes, keepdim=True, dtype=x.dtype)


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceMean": lambda x, a: x.mean(a, keepdim=True) if x.is_floating_point() else _integer_mean(x, a),
    "ReduceMax": lambda x, a: _extreme(x, a, True),
    "ReduceMin": lambda x, a: _extreme(x, a, False),
    "ReduceProd": _product,
    "ReduceL1": lambda x, a: _sum(x.abs(), a),
    "ReduceL2": lambda x, a: torch.linalg.vector_norm(x, 2, a, keepdim=True),
    "ReduceLogSum": lambda x, a: _sum(x, a).log(),
    "ReduceLogSumExp": lambda x, a: torch.logsumexp(x, a, keepdim=True),
    "ReduceSumSquare": lambda x, a: _sum(x * x, a),
}


def _integer_mean(x: Tensor, axes: list[int]) -> Tensor:
    return torch.div(_sum(x, axes), math.prod(x.shape[a] for a in axes), rounding_mode="trunc")


def _register(name: str, function: Reduction) -> None:
    @op(name, host=(1,))
    def handler(x: Tensor, axes: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
        chosen = axes_of(axes, attrs, x.dim())
        if not chosen and attrs.get("noop_with_empty_axes", 0):
            return function(x.unsqueeze(-1), [x.dim()]).squeeze(-1)  # only the element-wise part, e.g. |x| of L1
        chosen = chosen or list(range(x.dim()))
        y = function(x, chosen) if chosen else function(x.reshape(1), [0]).reshape(())
        return y if attrs.get("keepdims", 1) else y.reshape([n for i, n in enumerate(x.shape) if i not in chosen])


for _name, _function in _REDUCTIONS.items():
    _register(_name, _function)


@op("ArgMax")
def argmax(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _arg(x, attrs, torch.argmax)


@op("ArgMin")
def argmin(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _arg(x, attrs, torch.argmin)


def _arg(x: Tensor, attrs: Attrs, function: Callable[..., Tensor]) -> Tensor:
    axis, keep = axis_of(attrs.get("axis", 0), x.dim()), bool(attrs.get("keepdims", 1))
    if attrs.get("select_last_index", 0):
        return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=keep)
    return function(x, axis, keepdim=keep)


@op("TopK", host=(1,))
def top_k(x: Tensor, k: Tensor | None = None, *, attrs: Attrs, opset: int) -> Result:
    """Equal values come in the order of their index."""
    count = attrs["k"] if k is None else ints(k)[0]
    axis = axis_of(attrs.get("axis", -1), x.dim())
    values, where = torch.sort(x, dim=axis, descending=bool(attrs.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, count), where.narrow(axis, 0, count)


@op("CumSum", host=(1,))
def cum_sum(x: Tensor, axis: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _running(x, axis_of(ints(axis)[0], x.dim()), attrs, torch.cumsum, 0)


@op("CumProd", host=(1,))
def cum_prod(x: Tensor, axis: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _running(x, axis_of(ints(axis)[0], x.dim()), attrs, torch.cumprod, 1)


def _running(x: Tensor, axis: int, attrs: Attrs, function: Callable[..., Tensor], start: int) -> Tensor:
    x = x.flip(axis) if attrs.get("reverse", 0) else x
    y = function(x, axis, dtype=x.dtype)
    if attrs.get("exclusive", 0):
        first = torch.full_like(y.narrow(axis, 0, 1), start)
        y = torch.cat([first, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
    return y.flip(axis) if attrs.get("reverse", 0) else y
