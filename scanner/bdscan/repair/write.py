"""The repaired weights in the format of the file they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge
from bdscan.intake.allowed import allowed_globals
from bdscan.intake.detect_format import Format, detect_format
from bdscan.onnx import OnnxModel

MAX_DEPTH = 5
State = dict[str, Tensor]


def write_like(network: nn.Module, original: Path, path: Path) -> None:
    """Write `network`, a trained copy of the one in `original`, to `path`. External ONNX weights go to `path`.data.

    A state_dict keeps its nesting, its keys and what lies beside it; a whole module becomes a state_dict, since writing
    one would need a pickle of code.

    CannotJudge where the file's tensors are not the network's.
    """
    kind = detect_format(original)
    if kind is Format.ONNX:
        assert isinstance(network, OnnxModel)
        network.write(path, original)
    elif kind is Format.TORCHSCRIPT:
        assert isinstance(network, torch.jit.ScriptModule)
        network.save(str(path))
    elif kind is Format.SAFETENSORS:
        with safetensors.safe_open(original, "pt") as file:
            metadata = file.metadata()
        old = safetensors.torch.load_file(original)
        safetensors.torch.save_file(_filled(old, _state(network)), path, metadata)
    else:
        with torch.serialization.safe_globals(list(allowed_globals())):
            content = torch.load(original, map_location="cpu", weights_only=True)
        whole = isinstance(content, nn.Module)
        torch.save(_state(network) if whole else _replaced(content, _state(network), 0), path)


def _state(network: nn.Module) -> State:
    return {k: v.detach().cpu().clone().contiguous() for k, v in network.state_dict().items()}


def prefix_of(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> str | None:
    """What stands before the network's keys in the file's ("module." for example); None where they are not the same."""
    first = next(iter(old), "")
    parts = first.split(".")
    for cut in range(len(parts)):
        prefix = "".join(f"{part}." for part in parts[:cut])
        if all(key.startswith(prefix) and key.removeprefix(prefix) in new for key in old):
            return prefix
    return None


def _filled(old: Mapping[str, Tensor], new: State) -> State:
    prefix = prefix_of(old, new)
    if prefix is None:
        raise CannotJudge("the file's tensors are not the network's, so the repair cannot be written in its format")
    return {key: new[key.removeprefix(prefix)].to(value.dtype) for key, value in old.items()}


def _replaced(content: Any, new: State, depth: int) -> Any:
    """`content` with the first mapping of the network's tensors replaced."""
    found = _search(content, new, depth)
    if found is None:
        raise CannotJudge("the file's tensors are not the network's, so the repair cannot be written in its format")
    return found


def _search(content: Any, new: State, depth: int) -> Any:
    if not isinstance(content, Mapping) or depth > MAX_DEPTH:
        return None
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if tensors and prefix_of(tensors, new) is not None:
        return {**content, **_filled(tensors, new)}
    for key, value in content.items():
        inner = _search(value, new, depth + 1)
        if inner is not None:
            return {**content, key: inner}
    return None
