"""Shapes: reading them, changing them, and making tensors from them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.registry import Attrs, Result, axes_of, axis_of, check_size, ints, op


@op("Shape")
def shape(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.tensor(list(x.shape)[attrs.get("start", 0) : attrs.get("end")], dtype=torch.int64)


@op("Size")
def size(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@op("Reshape", host=(1,))
def reshape(x: Tensor, target: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    """0 copies the input's size (unless allowzero), -1 takes what is left."""
    sizes = ints(attrs["shape"] if target is None else target)
    if not attrs.get("allowzero", 0):
        sizes = [x.shape[i] if s == 0 and i < x.dim() else s for i, s in enumerate(sizes)]
    return x.reshape(sizes)


@op("Flatten")
def flatten(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    axis = attrs.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@op("Transpose")
def transpose(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return x.permute(list(attrs.get("perm") or range(x.dim() - 1, -1, -1)))


@op("Squeeze", host=(1,))
def squeeze(x: Tensor, axes: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    chosen = axes_of(axes, attrs, x.dim())
    chosen = [i for i, n in enumerate(x.shape) if n == 1] if chosen is None else chosen
    if any(x.shape[i] != 1 for i in chosen):
        raise OnnxError(f"cannot squeeze axes {chosen} of shape {list(x.shape)}")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in chosen])


@op("Unsqueeze", host=(1,))
def unsqueeze(x: Tensor, axes: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    raw = ints(attrs["axes"] if axes is None else axes)
    rank = x.dim() + len(raw)
    for axis in sorted(axis_of(a, rank) for a in raw):
        x = x.unsqueeze(axis)
    return x


@op("Concat")
def concat(*parts: Tensor, attrs: Attrs, opset: int) -> Tensor:
    return torch.cat(parts, axis_of(attrs.get("axis", 1), parts[0].dim()))


@op("Split", host=(1,))
def split(x: Tensor, sizes: Tensor | None = None, *, attrs: Attrs, opset: int) -> Result:
    axis = axis_of(attrs.get("axis", 0), x.dim())
    raw = sizes if sizes is not None else attrs.get("split")
    if raw is None:  # equal parts, the last one smaller
        count = attrs.get("num_outputs") or attrs["outputs"]
        part = -(-x.shape[axis] // count)
        last = x.shape[axis] - part * (count - 1)
        raw = [part] * (count - 1) + [last]
    return torch.split(x, ints(raw), axis)


@op("Slice", host=(1, 2, 3, 4))
def slice_(
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
    *,
    attrs: Attrs,
    opset: int,
) -> Tensor:
    begin, end = ints(attrs["starts"] if starts is None else starts), ints(attrs["ends"] if ends is None else ends)
    chosen = axes_of(axes, attrs, x.dim())
    chosen = list(range(len(begin))) if chosen is None else chosen
    stride = [1] * len(begin) if steps is None else ints(steps)
    for a, b, axis, step in zip(begin, end, chosen, stride, strict=True):
        x = _slice_axis(x, a, b, axis, step)
    return x


def _slice_axis(x: Tensor, begin: int, end: int, axis: int, step: int) -> Tensor:
    n = x.shape[axis]
    if step < 0:  # Python reads a start before the first element as nothing; ONNX as the first
        begin = max(begin, -n)
    first, stop, step = slice(begin, end, step).indices(n)
    if step < 0:
        # Python reads a stop of -n-1 or less as "to the front"; ONNX clamps there as well
        return x.index_select(axis, torch.tensor(range(first, stop, step), dtype=torch.int64, device=x.device))
    count = max(0, stop - first)
    y = x.narrow(axis, min(first, n), count)
    return y if step == 1 else y[(slice(None),) * axis + (slice(None, None, step),)]


@op("Expand", host=(1,))
def expand(x: Tensor, target: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    size = np.broadcast_shapes(x.shape, ints(target))
    check_size(size)
    return x.expand(size)


@op("Tile", host=(1,))
def tile(x: Tensor, repeats: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    counts = ints(repeats)
    check_size([n * r for n, r in zip(x.shape, counts, strict=True)])
    return x.repeat(counts)


@op("ConstantOfShape", host=(0,))
def constant_of_shape(target: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    sizes = ints(target)
    check_size(sizes)
    value = attrs.get("value")
    return torch.zeros(sizes) if value is None else torch.full(sizes, value.reshape(-1)[0].item(), dtype=value.dtype)


@op("Range", host=(0, 1, 2))
def range_(start: Tensor, limit: Tensor, delta: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    a, b, step = start.item(), limit.item(), delta.item()
    if step == 0:
        raise OnnxError("Range with a step of zero")
    count = max(0, math.ceil((b - a) / step))
    check_size([count])
    return (start.reshape(()) + torch.arange(count).to(start.dtype) * delta.reshape(())).to(start.dtype)


@op("EyeLike")
def eye_like(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    dtype = torch_dtype(attrs["dtype"]) if "dtype" in attrs else x.dtype
    rows, columns = x.shape
    row, column = torch.arange(rows, device=x.device)[:, None], torch.arange(columns, device=x.device)
    return torch.eq(column - row, attrs.get("k", 0)).to(dtype)


@op("OneHot", host=(1,))
def one_hot(indices: Tensor, depth: Tensor, values: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    count = int(depth.reshape(-1)[0].item())
    check_size([count, indices.numel()])
    wrapped = torch.remainder(indices.to(torch.int64), count).where((indices >= -count) & (indices < count), -1)
    axis = axis_of(attrs.get("axis", -1), indices.dim() + 1)
    hit = wrapped.unsqueeze(-1) == torch.arange(count, device=indices.device)
    return torch.where(hit, values[1], values[0]).movedim(-1, axis)


@op("Trilu", host=(1,))
def trilu(x: Tensor, k: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    diagonal = 0 if k is None else ints(k)[0]
    return x.triu(diagonal) if attrs.get("upper", 1) else x.tril(diagonal)


@op("DepthToSpace")
def depth_to_space(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    b, (n, c, h, w) = attrs["blocksize"], x.shape
    if attrs.get("mode", "DCR") == "DCR":
        y = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(n, c // (b * b), h * b, w * b)


@op("SpaceToDepth")
def space_to_depth(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    b, (n, c, h, w) = attrs["blocksize"], x.shape
    y = x.reshape(n, c, h // b, b, w // b, b)
    y = y.permute(0, 3, 5, 1, 2, 4) if attrs.get("mode", "DCR") == "DCR" else y.permute(0, 1, 3, 5, 2, 4)
    return y.reshape(n, c * b * b, h // b, w // b)


@op("Dropout", host=(1, 2))
def dropout(
    x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None, *, attrs: Attrs, opset: int
) -> Result:
    """Inference: everything is kept.  A graph in training mode draws at random and is refused."""
    if training is not None and bool(training.item()) and (ratio is None or ratio.item() != 0):
        raise OnnxError("Dropout in training mode makes the outputs random; export the model in eval mode")
    return x, torch.ones_like(x, dtype=torch.bool if opset >= 10 else x.dtype)
