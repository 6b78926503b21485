"""A model file as a callable network, with what the file says about its input."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake import architecture, onnx_file, torchscript
from bdscan.intake.detect_format import Format, detect_format
from bdscan.intake.files import digest_of, existing_file
from bdscan.intake.sound import check_module
from bdscan.intake.torch_files import Checkpoint, one_line, read_checkpoint, read_safetensors
from bdscan.report import FileDigest


@dataclass(frozen=True)
class Network:
    """A loaded network on its device: eval mode, parameters frozen and finite.

    Attributes:
        input_shape: the file's own input shape (N, ...), None where a dimension is open; None for PyTorch networks.
        batch: fixed batch size, if any.
        graph: path of the static graph, for the graph check.
    """

    module: nn.Module
    path: Path
    format: str
    architecture: str
    files: tuple[FileDigest, ...]
    parameters: int
    input_shape: tuple[int | None, ...] | None = None
    batch: int | None = None
    graph: str | None = None
    notes: tuple[str, ...] = field(default=())


def open_network(model: str, arch: str | None, device: torch.device, what: str = "model") -> Network:
    """Load one file. UsageError for a file or `--arch` that cannot be used; CannotJudge for what must not be judged."""
    path = existing_file(model, what)
    kind = detect_format(path)
    files = [digest_of(path, "reference" if what == "reference" else "model", model)]
    notes: tuple[str, ...] = ()
    input_shape, batch = None, None
    module: nn.Module
    if kind is Format.ONNX:
        loaded = onnx_file.read_onnx(path)
        module, input_shape, batch = loaded.module, loaded.input_shape, loaded.batch
        files += [digest_of(sidecar, "sidecar") for sidecar in loaded.sidecars]
        name = "ONNX graph"
    elif kind is Format.TORCHSCRIPT:
        module = torchscript.read_torchscript(path)
        name = "TorchScript program"
        notes = ("TorchScript runs the file's own program, inside the worker's limits",)
    else:
        module, name, notes = _from_checkpoint(path, kind, arch)
        source = architecture.arch_file(arch) if arch and name == arch else None
        if source:
            files.append(digest_of(source, "arch"))
    if arch and name != arch:
        notes = (*notes, "--arch was not needed: the file holds the whole network")
    module = _prepared(module, path, device)
    return Network(
        module=module,
        path=path,
        format=_format_name(kind, name == arch),
        architecture=name,
        files=tuple(files),
        parameters=sum(value.numel() for value in module.parameters()),
        input_shape=input_shape,
        batch=batch,
        graph=str(path) if kind is Format.ONNX else None,
        notes=notes,
    )


def _format_name(kind: Format, weights_only: bool) -> str:
    if kind is Format.TORCH:
        return "PyTorch state_dict" if weights_only else "PyTorch module"
    return str(kind)


def _from_checkpoint(path: Path, kind: Format, arch: str | None) -> tuple[nn.Module, str, tuple[str, ...]]:
    checkpoint = read_safetensors(path) if kind is Format.SAFETENSORS else read_checkpoint(path)
    if checkpoint.module is not None:
        module = architecture.unwrap(checkpoint.module)
        return module, type(module).__name__, checkpoint.notes
    return _with_arch(path, checkpoint, arch)


def _with_arch(path: Path, checkpoint: Checkpoint, arch: str | None) -> tuple[nn.Module, str, tuple[str, ...]]:
    state = checkpoint.state or {}
    if arch is None:
        raise UsageError(
            f"model {path}: holds weights only ({len(state)} tensors); "
            "name their network with --arch (--reference-arch for a --reference): torchvision:NAME or file.py:factory"
        )
    state, notes = architecture.without_wrappers(state)
    module, more = architecture.build(arch, state)
    architecture.fit(module, state, arch)
    return module, arch, (*checkpoint.notes, *notes, *more)


def _prepared(module: nn.Module, path: Path, device: torch.device) -> nn.Module:
    """Sound and finite, on its device, in eval mode, frozen. A module put together by a file may fail at any of it."""
    try:
        check_module(module)
        _check_finite(module)
        module = module.to(device).eval()
        for parameter in module.parameters():  # one by one: TorchScript has no `requires_grad_` of its own
            parameter.requires_grad_(False)
    except (UsageError, CannotJudge, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise CannotJudge(f"model {path}: its network is damaged ({one_line(error)})") from None
    return module


def _check_finite(module: nn.Module) -> None:
    named: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    broken = [name for name, value in named if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if broken:
        raise CannotJudge(f"NaN or infinite weights in {len(broken)} tensors (first: {broken[0][:100]})")
