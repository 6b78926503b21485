"""ONNX element types and their torch counterparts."""

from __future__ import annotations

import torch
from onnx import TensorProto

from bdscan.onnx.errors import OnnxError

_TORCH: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BOOL: torch.bool,
}


def torch_dtype(element_type: int) -> torch.dtype:
    """The torch type of a TensorProto element type; OnnxError for strings, complex numbers and sub-byte types."""
    if element_type not in _TORCH:
        names = TensorProto.DataType.keys()
        name = names[element_type] if 0 <= element_type < len(names) else str(element_type)
        raise OnnxError(f"tensors of element type {name} are not supported")
    return _TORCH[element_type]
