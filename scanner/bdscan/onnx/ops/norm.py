"""Normalisation layers, in inference mode unless the node says otherwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.registry import Attrs, Result, axis_of, op


@op("BatchNormalization")
def batch_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, attrs: Attrs, opset: int
) -> Result:
    epsilon = attrs.get("epsilon", 1e-5)
    if not attrs.get("training_mode", 0):
        return functional.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)
    axes, momentum = [0, *range(2, x.dim())], attrs.get("momentum", 0.9)
    new_mean, new_var = x.mean(axes), x.var(axes, unbiased=False)
    y = functional.batch_norm(x, new_mean, new_var, scale, bias, False, 0.0, epsilon)
    return y, mean * momentum + new_mean * (1 - momentum), var * momentum + new_var * (1 - momentum)


@op("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.group_norm(x, x.shape[1], scale, bias, attrs.get("epsilon", 1e-5))


@op("GroupNormalization")
def group_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    """Scale and bias are per group up to opset 20, per channel from 21 on."""
    groups = attrs["num_groups"]
    if opset < 21:
        scale, bias = (t.repeat_interleave(x.shape[1] // groups) for t in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, attrs.get("epsilon", 1e-5))


@op("LayerNormalization")
def layer_normalization(x: Tensor, scale: Tensor, bias: Tensor | None = None, *, attrs: Attrs, opset: int) -> Result:
    """Results: normalised, mean and inverse standard deviation."""
    axis, epsilon = axis_of(attrs.get("axis", -1), x.dim()), attrs.get("epsilon", 1e-5)
    shape = x.shape[axis:]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        y = functional.layer_norm(x, list(shape), scale, bias, epsilon)
    else:
        y = functional.layer_norm(x, list(shape), None, None, epsilon) * scale
        y = y if bias is None else y + bias
    if attrs["outputs"] < 2:
        return y
    axes = list(range(axis, x.dim()))
    mean, var = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
    return y, mean, torch.rsqrt(var + epsilon)


@op("RMSNormalization")
def rms_normalization(x: Tensor, scale: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    axes = list(range(axis_of(attrs.get("axis", -1), x.dim()), x.dim()))
    square = (x * x).mean(axes, keepdim=True)
    return x * torch.rsqrt(square + attrs.get("epsilon", 1e-5)) * scale


@op("LRN")
def lrn(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    size = attrs["size"]
    before = (size - 1) // 2
    square = functional.pad((x * x).movedim(1, -1), (before, size - 1 - before))
    total = square.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    bias, alpha, beta = attrs.get("bias", 1.0), attrs.get("alpha", 1e-4), attrs.get("beta", 0.75)
    return torch.div(x, torch.pow(bias + alpha / size * total, beta))


@op("LpNormalization")
def lp_normalization(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    """A slice of norm zero stays zero."""
    p = attrs.get("p", 2)
    if p not in (1, 2):
        raise OnnxError(f"LpNormalization with p={p} is not supported")
    norm = torch.linalg.vector_norm(x, p, axis_of(attrs.get("axis", -1), x.dim()), keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))


@op("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    axes = list(attrs.get("axes", (0, 2, 3)))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + math.ulp(0.0) + 1e-9)
