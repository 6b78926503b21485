"""Pooling over one, two or three spatial axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.conv import Pads, apply_pads, resolve_pads, spatial
from bdscan.onnx.ops.registry import Attrs, Result, as_float, op

_MAX: dict[int, Callable[..., tuple[Tensor, Tensor]]] = {
    1: functional.max_pool1d_with_indices,
    2: functional.max_pool2d_with_indices,
    3: functional.max_pool3d_with_indices,
}
_MEAN: dict[int, Callable[..., Tensor]] = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_CONV: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@dataclass(frozen=True)
class _Window:
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: Pads  # as the graph states them: what count_include_pad counts
    filled: Pads  # extended or cut at the end so that floor division gives the output size of `ceil_mode`


def _window(x: Tensor, attrs: Attrs) -> _Window:
    kernel, rank = list(attrs["kernel_shape"]), x.dim() - 2
    if rank not in _MAX or len(kernel) != rank:
        raise OnnxError(f"pooling with kernel {kernel} over an input of rank {x.dim()} is not supported")
    strides, dilations = spatial(attrs, "strides", rank), spatial(attrs, "dilations", rank)
    pads = resolve_pads(attrs, x.shape[2:], kernel, strides, dilations)
    filled = []
    for n, k, s, d, (a, b) in zip(x.shape[2:], kernel, strides, dilations, pads, strict=True):
        reach = (k - 1) * d + 1
        out = (n + a + b - reach) / s + 1
        count = math.ceil(out) if attrs.get("ceil_mode", 0) else math.floor(out)
        if (count - 1) * s >= n + a:  # a window must start inside the input or the padding before it
            count -= 1
        filled.append((a, (count - 1) * s + reach - n - a))
    return _Window(kernel, strides, dilations, pads, filled)


@op("MaxPool")
def max_pool(x: Tensor, *, attrs: Attrs, opset: int) -> Result:
    """Second result: index of each maximum in the flattened input, as ONNX counts it."""
    w = _window(x, attrs)
    values = x if x.is_floating_point() else x.to(torch.float64)
    padding = [a for a, _ in w.filled]
    if any(not 0 <= a - b < s or 2 * a > k for (a, b), k, s in zip(w.filled, w.kernel, w.strides, strict=True)):
        values, padding = apply_pads(values, [(a, max(b, 0)) for a, b in w.filled], -math.inf), [0] * len(w.kernel)
    y, where = _MAX[len(w.kernel)](values, w.kernel, w.strides, padding, w.dilations)
    return y.to(x.dtype), _onnx_indices(where, x, values.shape[2:], w.filled, attrs.get("storage_order", 0))


def _onnx_indices(where: Tensor, x: Tensor, padded: Sequence[int], pads: Pads, column_major: int) -> Tensor:
    """From a position in the (padded) window plane to one in the whole input."""
    size = list(x.shape[2:])
    offset = [0] * len(size) if list(padded) == size else [a for a, _ in pads]
    places = [p - o for p, o in zip(torch.unravel_index(where, tuple(padded)), offset, strict=True)]
    flat = torch.zeros_like(where)
    for place, n in zip(*((places[::-1], size[::-1]) if column_major else (places, size)), strict=True):
        flat = flat * n + place
    planes = torch.arange(math.prod(x.shape[:2]), device=x.device) * math.prod(size)
    return flat + planes.reshape(*x.shape[:2], *[1] * len(size))


@op("AveragePool")
def average_pool(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    w = _window(x, attrs)
    if w.filled == w.pads and all(d == 1 for d in w.dilations) and all(a == b == 0 for a, b in w.pads):
        return _MEAN[len(w.kernel)](x, w.kernel, w.strides)
    inside = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    if attrs.get("count_include_pad", 0):
        inside = apply_pads(inside, w.pads, 1.0)
        counted = apply_pads(inside, [(0, f[1] - p[1]) for f, p in zip(w.filled, w.pads, strict=True)])
    else:
        counted = apply_pads(inside, w.filled)
    return _window_sum(apply_pads(x, w.filled), w) / _window_sum(counted, w)


def _window_sum(x: Tensor, w: _Window) -> Tensor:
    """Sum of each window of an already padded input."""
    if all(d == 1 for d in w.dilations):
        return _MEAN[len(w.kernel)](x, w.kernel, w.strides) * math.prod(w.kernel)
    ones = torch.ones((x.shape[1], 1, *w.kernel), dtype=x.dtype, device=x.device)
    return _CONV[len(w.kernel)](x, ones, None, w.strides, 0, w.dilations, x.shape[1])


@op("LpPool")
def lp_pool(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    w, p = _window(x, attrs), attrs.get("p", 2)
    return torch.pow(_window_sum(apply_pads(x.abs() ** p, w.filled), w), 1 / p)


def _spatial_axes(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


@op("GlobalAveragePool")
def global_average_pool(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return x.mean(_spatial_axes(x), keepdim=True)


@op("GlobalMaxPool")
def global_max_pool(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return as_float(x).amax(_spatial_axes(x), keepdim=True).to(x.dtype)


@op("GlobalLpPool")
def global_lp_pool(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    p = attrs.get("p", 2)
    return torch.pow((x.abs() ** p).sum(_spatial_axes(x), keepdim=True), 1 / p)
