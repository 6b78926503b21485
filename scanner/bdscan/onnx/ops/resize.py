"""Resize and Upsample: each axis is resampled by its own (outputs, inputs) matrix, which is differentiable in x."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.registry import Attrs, axis_of, check_size, ints, op


@dataclass(frozen=True)
class _Axis:
    size: int  # inputs
    out: int  # outputs
    scale: float
    roi: tuple[float, float]


@op("Upsample", host=(1,))
def upsample(x: Tensor, scales: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    return _upsample(x, scales, attrs)


def _upsample(x: Tensor, scales: Tensor | None, attrs: Attrs) -> Tensor:
    factors = list(attrs["scales"]) if scales is None else scales.reshape(-1).tolist()
    legacy = {**attrs, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    axes = [_Axis(n, math.floor(n * f), f, (0.0, 1.0)) for n, f in zip(x.shape, factors, strict=True)]
    return _resample(x, list(range(x.dim())), axes, legacy)


@op("Resize", host=(1, 2, 3))
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    attrs: Attrs,
    opset: int,
) -> Tensor:
    if opset < 11:
        return _upsample(x, roi, attrs)
    chosen = [axis_of(a, x.dim()) for a in attrs.get("axes") or range(x.dim())]
    inputs = [x.shape[a] for a in chosen]
    if sizes is not None and sizes.numel():
        factors, out = _by_sizes(inputs, ints(sizes), attrs.get("keep_aspect_ratio_policy", "stretch"))
    elif scales is not None and scales.numel():
        factors = scales.reshape(-1).tolist()
        out = [math.floor(n * f) for n, f in zip(inputs, factors, strict=True)]
    else:
        raise OnnxError("Resize without scales or sizes")
    ends = [0.0] * len(chosen) + [1.0] * len(chosen) if roi is None or not roi.numel() else roi.reshape(-1).tolist()
    windows = zip(ends[: len(chosen)], ends[len(chosen) :], strict=True)
    axes = [_Axis(*spec) for spec in zip(inputs, out, factors, windows, strict=True)]
    return _resample(x, chosen, axes, attrs)


def _by_sizes(inputs: Sequence[int], sizes: list[int], policy: str) -> tuple[list[float], list[int]]:
    factors = [s / n for s, n in zip(sizes, inputs, strict=True)]
    if policy == "stretch":
        return factors, sizes
    one = min(factors) if policy == "not_larger" else max(factors)
    return [one] * len(inputs), [math.floor(n * one + 0.5) for n in inputs]


def _resample(x: Tensor, chosen: Sequence[int], axes: Sequence[_Axis], attrs: Attrs) -> Tensor:
    sizes = list(x.shape)
    for place, axis in zip(chosen, axes, strict=True):
        sizes[place] = axis.out
    check_size(sizes)
    crop = attrs.get("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    kind = x if x.is_floating_point() else x.to(torch.float32)
    outside = torch.zeros([1] * x.dim(), dtype=torch.bool, device=x.device)
    for place, axis in zip(chosen, axes, strict=True):
        if axis.size == axis.out and axis.scale == 1.0 and not crop:
            continue
        check_size([axis.out, axis.size])
        where = _coordinates(axis, attrs)
        weights = _weights(where, axis, attrs).to(kind)
        kind = torch.tensordot(kind, weights, dims=([place], [1])).movedim(-1, place)
        if crop:
            beyond = ((where < 0) | (where > axis.size - 1)).to(x.device)
            outside = outside | beyond.reshape([-1 if i == place else 1 for i in range(x.dim())])
    if crop:
        kind = torch.where(outside, attrs.get("extrapolation_value", 0.0), kind)
    if x.is_floating_point():
        return kind
    limits = torch.iinfo(x.dtype)
    return kind.clamp(limits.min, limits.max).to(x.dtype)


def _coordinates(axis: _Axis, attrs: Attrs) -> Tensor:
    """Where each output position lies in the input, float64 (out,)."""
    mode, at, n, scale = (
        attrs.get("coordinate_transformation_mode", "half_pixel"),
        _positions(axis.out),
        axis.size,
        axis.scale,
    )
    if mode == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        exact = n * scale
        return n / 2 * (1 - axis.out / exact) + (at + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if axis.out > 1 else at * 0
    if mode == "align_corners":
        return at * ((n - 1) / (n * scale - 1)) if axis.out > 1 else at * 0
    if mode == "asymmetric":
        return at / scale
    if mode != "tf_crop_and_resize":
        raise OnnxError(f"unknown coordinate_transformation_mode {mode!r}")
    begin, end = axis.roi
    if axis.out == 1:
        return at + 0.5 * (begin + end) * (n - 1)
    return begin * (n - 1) + at * (end - begin) * (n - 1) / (axis.out - 1)


def _positions(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64)


def _weights(where: Tensor, axis: _Axis, attrs: Attrs) -> Tensor:
    """(out, size) float64; a row sums to one."""
    mode, n = attrs.get("mode", "nearest"), axis.size
    if mode == "nearest":
        rows = _nearest(where, attrs.get("nearest_mode", "round_prefer_floor")).clamp(0, n - 1).to(torch.int64)
        return torch.nn.functional.one_hot(rows, n).to(torch.float64)
    stretch = max(1.0, 1 / axis.scale) if attrs.get("antialias", 0) else 1.0
    reach = math.ceil((2 if mode == "cubic" else 1) * stretch) + 1
    taps = torch.floor(where)[:, None] + torch.arange(-reach, reach + 1)
    distance = ((taps - where[:, None]) / stretch).abs()
    if mode == "cubic":
        weights = _cubic(distance, attrs.get("cubic_coeff_a", -0.75))
    elif mode in ("linear", "bilinear"):
        weights = (1 - distance).clamp(min=0)
    else:
        raise OnnxError(f"unknown Resize mode {mode!r}")
    if attrs.get("exclude_outside", 0):
        weights = weights * ((taps >= 0) & (taps < n))
    weights = weights / weights.sum(1, keepdim=True)
    rows = torch.zeros((len(where), n), dtype=torch.float64)
    return rows.scatter_add(1, taps.clamp(0, n - 1).to(torch.int64), weights)


def _nearest(where: Tensor, mode: str) -> Tensor:
    if mode == "round_prefer_floor":
        return torch.ceil(where - 0.5)
    if mode == "round_prefer_ceil":
        return torch.floor(where + 0.5)
    return torch.floor(where) if mode == "floor" else torch.ceil(where)


def _cubic(d: Tensor, a: float) -> Tensor:
    """Keys' kernel at distance d."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
