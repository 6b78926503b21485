"""Matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.registry import Attrs, check_size, op


@op("MatMul")
def matmul(a: Tensor, b: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    return torch.matmul(a, b)


@op("Gemm")
def gemm(a: Tensor, b: Tensor, c: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    alpha, beta = attrs.get("alpha", 1.0), attrs.get("beta", 1.0)
    a = a.T if attrs.get("transA", 0) else a
    if c is not None and c.dim() == 1 and alpha == beta == 1.0:
        return functional.linear(a, b if attrs.get("transB", 0) else b.T, c)
    y = a @ (b.T if attrs.get("transB", 0) else b)
    y = y if alpha == 1.0 else alpha * y
    return y if c is None else y + (c if beta == 1.0 else beta * c)


@op("Einsum")
def einsum(*operands: Tensor, attrs: Attrs, opset: int) -> Tensor:
    equation = attrs["equation"].replace(" ", "")
    if len(operands) > 2:  # torch joins them one by one, and what it makes on the way is not in the result's size
        check_size([*_sizes(equation, operands).values()])
    result: Tensor = torch.einsum(equation, *operands)
    return result


def _sizes(equation: str, operands: tuple[Tensor, ...]) -> dict[str, int]:
    """The size of each index."""
    if "." in equation:
        raise OnnxError("Einsum of more than two operands with `...` is not supported")
    terms = equation.partition("->")[0].split(",")
    return {
        index: size
        for term, operand in zip(terms, operands, strict=True)
        for index, size in zip(term, operand.shape, strict=True)
    }


@op("Det")
def det(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    determinant: Tensor = torch.linalg.det(x)
    return determinant
