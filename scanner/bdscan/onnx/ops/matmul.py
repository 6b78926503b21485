"""Matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.onnx.ops.registry import Attrs, op


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
    result: Tensor = torch.einsum(attrs["equation"].replace(" ", ""), *operands)
    return result


@op("Det")
def det(x: Tensor, *, attrs: Attrs, opset: int) -> Tensor:
    determinant: Tensor = torch.linalg.det(x)
    return determinant
