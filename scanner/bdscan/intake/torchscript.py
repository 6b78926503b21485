"""TorchScript archives."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from bdscan.errors import UsageError
from bdscan.intake.archive import check_archive
from bdscan.intake.script_code import check_script_code
from bdscan.intake.torch_files import one_line

SOFTMAX = ("aten::softmax", "aten::log_softmax")


def read_torchscript(path: Path) -> nn.Module:
    """The program as a module; running it is left to the caller. UsageError where the archive cannot be read."""
    check_archive(path)
    check_script_code(path)
    try:
        module = _load(path, torch.device("cpu"))
    except MemoryError:
        raise
    except Exception as error:  # the program's own errors come as many types
        raise UsageError(f"model {path}: not a TorchScript file that can be read ({one_line(error)})") from None
    return module


def without_final_softmax(path: Path, device: torch.device) -> nn.Module | None:
    """The program with its last softmax cut, or None where its result is not a softmax's.

    The archive is read again, because a graph can only be edited before its first run.
    """
    try:
        module = _frozen(_load(path, device).eval())
    except RuntimeError:
        return None
    result = next(iter(module.graph.outputs()))
    if result.node().kind() not in SOFTMAX:
        return None
    result.replaceAllUsesWith(next(iter(result.node().inputs())))
    assert isinstance(module, nn.Module)
    return module


def _load(path: Path, device: torch.device) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch retires TorchScript; its files remain
        module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    assert isinstance(module, nn.Module)
    return module


def _frozen(module: nn.Module) -> torch.jit.ScriptModule:
    """The program as one graph, its weights constants in it."""
    assert isinstance(module, torch.jit.ScriptModule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        frozen = torch.jit.freeze(module)
    assert isinstance(frozen, torch.jit.ScriptModule)
    return frozen
