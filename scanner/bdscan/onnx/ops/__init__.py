"""The operators, grouped by theme; importing this package fills the table."""

from bdscan.onnx.ops import (
    activation,
    attention,
    conv,
    elementwise,
    gather,
    matmul,
    norm,
    pad,
    pool,
    reduce,
    resize,
    scatter,
    shape,
)
from bdscan.onnx.ops.registry import OPERATORS, Operator

__all__ = [
    "OPERATORS",
    "Operator",
    "activation",
    "attention",
    "conv",
    "elementwise",
    "gather",
    "matmul",
    "norm",
    "pad",
    "pool",
    "reduce",
    "resize",
    "scatter",
    "shape",
]
