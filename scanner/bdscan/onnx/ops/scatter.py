"""Writing by index; the input is never changed in place."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.gather import wrap_index
from bdscan.onnx.ops.registry import Attrs, axis_of, op

_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@op("ScatterElements", "Scatter")
def scatter_elements(x: Tensor, index: Tensor, updates: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    axis, how = axis_of(attrs.get("axis", 0), x.dim()), attrs.get("reduction", "none")
    index = wrap_index(index, x.shape[axis])
    return x.scatter(axis, index, updates) if how == "none" else x.scatter_reduce(axis, index, updates, _REDUCE[how])


@op("ScatterND")
def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    """Duplicate indices without a reduction: the last one wins."""
    depth, how = index.shape[-1], attrs.get("reduction", "none")
    if depth > x.dim():
        raise OnnxError(f"ScatterND writes {depth} indices into a tensor of rank {x.dim()}")
    rows = index.reshape(-1, depth)
    flat_index = torch.zeros(rows.shape[0], dtype=torch.int64, device=x.device)
    for i, n in enumerate(x.shape[:depth]):
        flat_index = flat_index * n + wrap_index(rows[:, i], n)
    flat = x.reshape(-1, *x.shape[depth:]) if depth else x[None]
    new = updates.reshape(len(rows), *x.shape[depth:])
    if how == "none":
        return flat.index_copy(0, flat_index, new).reshape(x.shape)
    where = flat_index.reshape(-1, *[1] * (flat.dim() - 1)).expand(new.shape)
    return flat.scatter_reduce(0, where, new, _REDUCE[how]).reshape(x.shape)
