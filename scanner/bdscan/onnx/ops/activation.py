"""Activations; all differentiable but Hardmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.onnx.ops.registry import Attrs, axis_of, op


@op("Relu")
def relu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.relu(x)


@op("LeakyRelu")
def leaky_relu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.leaky_relu(x, attrs.get("alpha", 0.01))


@op("PRelu")
def prelu(x: Tensor, slope: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    """The slope broadcasts like any operand (here: from the right)."""
    return torch.where(x < 0, x * slope, x)


@op("Elu")
def elu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.elu(x, attrs.get("alpha", 1.0))


@op("Selu")
def selu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    alpha: float = attrs.get("alpha", 1.6732632423543772)
    gamma: float = attrs.get("gamma", 1.0507009873554805)
    return gamma * functional.elu(x, alpha)


@op("Celu")
def celu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.celu(x, attrs.get("alpha", 1.0))


@op("Sigmoid")
def sigmoid(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.sigmoid(x)


@op("Tanh")
def tanh(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.tanh(x)


@op("HardSigmoid")
def hard_sigmoid(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.clamp(attrs.get("alpha", 0.2) * x + attrs.get("beta", 0.5), 0, 1)


@op("HardSwish")
def hard_swish(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.hardswish(x)


@op("Softplus")
def softplus(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.softplus(x)


@op("Softsign")
def softsign(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.softsign(x)


@op("Gelu")
def gelu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.gelu(x, approximate=attrs.get("approximate", "none"))


@op("Mish")
def mish(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.mish(x)


@op("Swish")
def swish(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return x * torch.sigmoid(attrs.get("alpha", 1.0) * x)


@op("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return functional.threshold(x, attrs.get("alpha", 1.0), 0.0)


@op("Shrink")
def shrink(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    bias, edge = attrs.get("bias", 0.0), attrs.get("lambd", 0.5)
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, torch.zeros_like(x)))


@op("Softmax")
def softmax(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _along(torch.softmax, x, attrs, opset)


@op("LogSoftmax")
def log_softmax(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _along(torch.log_softmax, x, attrs, opset)


@op("Hardmax")
def hardmax(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return _along(_one_hot_of_first_maximum, x, attrs, opset)


def _one_hot_of_first_maximum(x: Tensor, axis: int) -> Tensor:
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


def _along(function: object, x: Tensor, attrs: Attrs, opset: int) -> Tensor:
    """Opset 13 and later: over one axis (default -1); before: over all from `axis` (default 1) on, flattened."""
    assert callable(function)
    if opset >= 13:
        return function(x, axis_of(attrs.get("axis", -1), x.dim()))  # type: ignore[no-any-return]
    flat = x.flatten(axis_of(attrs.get("axis", 1), x.dim()))
    return function(flat, flat.dim() - 1).reshape(x.shape)  # type: ignore[no-any-return]
