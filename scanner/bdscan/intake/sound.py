"""Whether tensors from a file are plain ones that hold what they claim.

A file may name tensors that claim terabytes over a few bytes (a stride of zero, overlapping rows), that hold no data at
all (meta), or of kinds for which finite-ness and copying mean something else (sparse, quantised, nested, complex).
None is needed for the weights of an image classifier; each would cost memory or escape a check further on.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge

PLAIN = frozenset(
    {
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
    }
)
LONGEST = 100  # characters of a name from the file


def check_tensors(named: Iterable[tuple[str, Tensor]]) -> None:
    """CannotJudge for the first tensor that is not plain."""
    for name, tensor in named:
        fault = _fault(tensor)
        if fault:
            raise CannotJudge(f"the tensor {name[:LONGEST]!r} {fault}; save plain float weights")


def check_module(module: nn.Module) -> None:
    """The same for all parameters and buffers of a network."""
    check_tensors((*module.named_parameters(), *module.named_buffers()))


def _fault(tensor: Tensor) -> str:
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"is a {type(tensor).__name__[:LONGEST]}"
    if tensor.is_meta:
        return "has no data (meta)"
    if tensor.is_nested:
        return "is nested"
    if tensor.layout != torch.strided:
        return "is sparse"
    if tensor.is_quantized:
        return "is quantised"
    if tensor.dtype not in PLAIN:
        return f"is of type {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "claims more elements than the file holds (overlapping or of stride 0)"
    return ""
