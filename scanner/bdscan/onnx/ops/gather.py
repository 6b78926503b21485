"""Reading by index."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.registry import Attrs, axis_of, ints, op


def wrap_index(index: Tensor, size: int) -> Tensor:
    """Negative indices count from the end."""
    index = index.to(torch.int64)
    return torch.where(index < 0, index + size, index)


@op("Gather")
def gather(x: Tensor, index: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    axis = axis_of(attrs.get("axis", 0), x.dim())
    flat = wrap_index(index, x.shape[axis]).reshape(-1)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, flat).reshape(shape)


@op("GatherElements")
def gather_elements(x: Tensor, index: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    axis = axis_of(attrs.get("axis", 0), x.dim())
    return torch.gather(x, axis, wrap_index(index, x.shape[axis]))


@op("GatherND")
def gather_nd(x: Tensor, index: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    batch, depth = attrs.get("batch_dims", 0), index.shape[-1]
    if batch + depth > x.dim():
        raise OnnxError(f"GatherND reads {depth} indices from a tensor of rank {x.dim()}")
    lead = math.prod(x.shape[:batch])
    flat = x.reshape(lead, *x.shape[batch:])
    rows = index.reshape(lead, -1, depth)
    places = [wrap_index(rows[..., i], n) for i, n in enumerate(x.shape[batch : batch + depth])]
    own = torch.arange(lead, device=x.device)[:, None].expand(rows.shape[:2])
    return flat[(own, *places)].reshape(*index.shape[:-1], *x.shape[batch + depth :])


@op("Compress")
def compress(x: Tensor, condition: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    flat, axis = (x.reshape(-1), 0) if "axis" not in attrs else (x, axis_of(attrs["axis"], x.dim()))
    kept = torch.nonzero(condition[: flat.shape[axis]]).reshape(-1)
    return flat.index_select(axis, kept)


@op("NonZero")
def non_zero(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.nonzero(x).T


@op("ReverseSequence", host=(1,))
def reverse_sequence(x: Tensor, lengths: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    batch, time = attrs.get("batch_axis", 1), attrs.get("time_axis", 0)
    rows = []
    for row, n in zip(x.unbind(batch), ints(lengths), strict=True):
        along = time - (batch < time)
        rows.append(torch.cat([row.narrow(along, 0, n).flip(along), row.narrow(along, n, row.shape[along] - n)], along))
    return torch.stack(rows, batch)
