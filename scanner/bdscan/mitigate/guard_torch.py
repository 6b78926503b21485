"""A PyTorch network behind a transformation, as TorchScript: a file that needs no class and no code of ours."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge
from bdscan.intake.presented import Mould
from bdscan.intake.torch_files import one_line
from bdscan.mitigate.linear import Linear


class Guarded(nn.Module):
    """Transforms the network's raw input, in its own layout and range, before the network sees it."""

    def __init__(self, network: nn.Module, linear: Linear, offset: Tensor, mould: Mould, layout: str) -> None:
        super().__init__()
        self.rows: Tensor
        self.columns: Tensor
        self.black: Tensor
        self.network = network
        self.register_buffer("rows", linear.rows)
        self.register_buffer("columns", linear.columns)
        self.register_buffer("black", offset)
        channels, height, width = mould.shape
        self.dims = (height, width, channels) if layout == "NHWC" else mould.shape
        self.tail, self.last = mould.tail, layout == "NHWC"

    def forward(self, x: Tensor) -> Any:
        if self.tail is not None:
            x = x.reshape(-1, *self.dims)
        if self.last:
            x = x.permute(0, 3, 1, 2)
        x = self.rows @ (x - self.black) @ self.columns + self.black
        if self.last:
            x = x.permute(0, 2, 3, 1)
        if self.tail is not None:
            x = x.reshape(-1, *self.tail)
        return self.network(x)


def write_guarded(
    network: nn.Module, path: Path, example: Tensor, linear: Linear, offset: Tensor, mould: Mould, layout: str
) -> None:
    """Trace and save. `example`: raw inputs (N, ...). CannotJudge where the network cannot be traced."""
    guarded = Guarded(network, linear, offset, mould, layout).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing warns of every size it fixes; the check with other sizes decides
            traced = torch.jit.trace(guarded, (example,), check_trace=False, strict=False)  # type: ignore[no-untyped-call]
            traced.save(str(path))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a network put together by a file may fail in any way
        raise CannotJudge(f"--guard: the network cannot be traced ({one_line(error)})") from None
