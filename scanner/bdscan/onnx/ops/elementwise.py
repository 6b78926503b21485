"""Arithmetic, comparison, logic and casts, with ONNX (numpy) broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.ops.registry import Attrs, op

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,  # both round half to even
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}

_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}


def _register_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @op(name)
    def handler(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
        return function(x)


def _register_binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @op(name)
    def handler(a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
        return function(a, b)


for _name, _unary in _UNARY.items():
    _register_unary(_name, _unary)
for _name, _binary in _BINARY.items():
    _register_binary(_name, _binary)


@op("Identity")
def identity(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return x


@op("Div")
def div(a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    """Integers divide towards zero, as in C."""
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


@op("Mod")
def mod(a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.fmod(a, b) if attrs.get("fmod", 0) else torch.remainder(a, b)


@op("Pow")
def power(a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    """The result has the type of the base."""
    return torch.pow(a, b.to(a.dtype) if a.is_floating_point() else b).to(a.dtype)


@op("BitShift")
def bit_shift(a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return a << b if attrs.get("direction") == "LEFT" else a >> b


@op("IsInf")
def is_inf(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    positive = torch.isposinf(x) if attrs.get("detect_positive", 1) else torch.zeros_like(x, dtype=torch.bool)
    return positive | torch.isneginf(x) if attrs.get("detect_negative", 1) else positive


@op("Max")
def maximum(*values: Tensor, attrs: Attrs, opset: int) -> Tensor:
    return reduce(torch.maximum, values)


@op("Min")
def minimum(*values: Tensor, attrs: Attrs, opset: int) -> Tensor:
    return reduce(torch.minimum, values)


@op("Sum")
def total(*values: Tensor, attrs: Attrs, opset: int) -> Tensor:
    return reduce(torch.add, values)


@op("Mean")
def mean(*values: Tensor, attrs: Attrs, opset: int) -> Tensor:
    return reduce(torch.add, values) / len(values)


@op("Where")
def where(condition: Tensor, a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.where(condition, a, b)


@op("Clip")
def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    """Bounds are inputs from opset 11, attributes before."""
    if opset < 11:
        return torch.clamp(x, attrs.get("min", -math.inf), attrs.get("max", math.inf))
    return x if low is None and high is None else torch.clamp(x, min=low, max=high)


@op("Cast")
def cast(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return x.to(torch_dtype(attrs["to"]))


@op("CastLike")
def cast_like(x: Tensor, target: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return x.to(target.dtype)
