"""Pad: constant, reflect, edge and wrap, on any axes."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.conv import apply_pads
from bdscan.onnx.ops.registry import Attrs, axis_of, check_size, ints, op


@op("Pad", host=(1, 2, 3))
def pad(
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    attrs: Attrs,
    opset: int,
) -> Tensor:
    """Negative pads crop."""
    flat, mode = ints(attrs["pads"] if pads is None else pads), attrs.get("mode", "constant")
    chosen = list(range(x.dim())) if axes is None else [axis_of(a, x.dim()) for a in ints(axes)]
    if len(flat) != 2 * len(chosen):
        raise OnnxError(f"Pad has {len(flat)} entries for {len(chosen)} axes")
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(chosen):
        before[axis], after[axis] = flat[i], flat[i + len(chosen)]
    if mode == "constant":
        fill = attrs.get("value", 0.0) if value is None else value.reshape(-1)[0].item()
        return apply_pads(x, list(zip(before, after, strict=True)), fill)
    check_size([max(n + a + b, 0) for n, a, b in zip(x.shape, before, after, strict=True)])
    for axis, (a, b) in enumerate(zip(before, after, strict=True)):
        if a or b:
            x = x.index_select(axis, _source(x.shape[axis], a, b, mode).to(x.device))
    return x


def _source(n: int, before: int, after: int, mode: str) -> Tensor:
    """For each output position the input position it copies."""
    place = torch.arange(-before, n + after)
    if mode == "edge":
        return place.clamp(0, n - 1)
    if mode == "wrap":
        return place % n
    if mode != "reflect":
        raise OnnxError(f"unknown Pad mode {mode!r}")
    period = max(2 * (n - 1), 1)
    folded = place % period
    return torch.minimum(folded, period - folded) if n > 1 else folded * 0


@op("CenterCropPad", host=(1,))
def center_crop_pad(x: Tensor, target: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    sizes = ints(target)
    axes = [axis_of(a, x.dim()) for a in attrs.get("axes", range(len(sizes)))]
    pads = [(0, 0)] * x.dim()
    for axis, size in zip(axes, sizes, strict=True):
        gap = size - x.shape[axis]
        before = gap // 2 if gap >= 0 else -(-gap // 2)
        pads[axis] = (before, gap - before)
    return apply_pads(x, pads)
