"""The repaired weights in the format of the file they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.allowed import allowed_globals
from bdscan.intake.detect_format import Format, detect_format
from bdscan.intake.torch_files import read_checkpoint
from bdscan.onnx import OnnxModel
from bdscan.onnx.prepare import parse
from bdscan.onnx.write import write_model
from bdscan.repair.outcome import REJECTED, SIDECAR

MAX_DEPTH = 5
ANCHORS = 3  # of the network's keys, to find what stands before all of them
SUFFIXES = {".onnx": "ONNX", ".safetensors": "safetensors"} | dict.fromkeys((".pt", ".pth", ".ts", ".ckpt"), "PyTorch")
MODULE = "PyTorch module"
State = dict[str, Tensor]


def check_name(name: str, kind: str, arch: str | None) -> None:
    """UsageError, before the work, where a model of this kind cannot be written under this name and read again."""
    if kind == MODULE and arch is None:
        raise UsageError(
            "a repaired whole module is written as a state_dict, which needs its network: name it with --arch"
            " file.py:factory"
        )
    family = "PyTorch" if kind.startswith("PyTorch") or kind == str(Format.TORCHSCRIPT) else kind
    suffix = Path(name).suffix.lower()
    if SUFFIXES.get(suffix, family) != family:
        fitting = " or ".join(end for end, owner in SUFFIXES.items() if owner == family and end not in (".ts", ".ckpt"))
        raise UsageError(f"--output {name}: the repaired model is {kind} as well; end its name with {fitting}")


def set_aside(path: Path) -> Path:
    """Give a rejected file the name that it will have, so that its weights file gets a name of its own; returns it."""
    place = path.with_name(path.name + REJECTED)
    if detect_format(path) is Format.ONNX:
        write_model(place, parse(path), path)
        path.unlink()
        path.with_name(path.name + SIDECAR).unlink(missing_ok=True)
    else:
        path.rename(place)
    return place


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
        if any(tensor.is_cuda for tensor in network.state_dict().values()):  # plain `torch.jit.load` needs a GPU then
            torch.jit.load(str(path), map_location="cpu").save(str(path))  # type: ignore[no-untyped-call]
    elif kind is Format.SAFETENSORS:
        with safetensors.safe_open(original, "pt") as file:
            metadata = file.metadata()
        old = safetensors.torch.load_file(original)
        safetensors.torch.save_file(_filled(old, _state(network)), path, metadata)
    else:
        keys, content = read_checkpoint(original).keys, _content(original)
        whole = isinstance(content, nn.Module)
        torch.save(_state(network) if whole else _replaced(content, keys, _state(network)), path)


def check_copies(original: Path, network: nn.Module) -> None:
    """CannotJudge where a PyTorch file holds the network's weights more than once, an average beside them for example:
    one of them alone would be repaired."""
    if detect_format(original) is Format.TORCH:
        state = _state(network)
        copies = list(_copies(_content(original), state, _weights(state), 0, set()))
        if len(copies) > 1:
            names = ", ".join(repr(name[:40]) for name in copies[:5])
            raise CannotJudge(f"the file holds several sets of the network's weights ({names}): save the one to repair")


def _content(path: Path) -> Any:
    with torch.serialization.safe_globals(list(allowed_globals())):
        return torch.load(path, map_location="cpu", weights_only=True)


def _copies(
    content: Any, new: State, shapes: list[list[torch.Size]], depth: int, seen: set[int], name: str = ""
) -> Iterator[str]:
    """The names of mappings that hold at least half of the network's tensors, of the same shapes, and of lists of all
    its weights (as averages keep them), in `shapes`. `seen`: those that were looked at already: a file can hold one in
    millions of places."""
    inner = content.state_dict() if isinstance(content, nn.Module) else content
    if not isinstance(inner, Mapping | list | tuple) or depth > MAX_DEPTH or id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(inner, Mapping):
        tensors = {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}
        for prefix in _prefixes(tensors, new):
            same = sum(f"{prefix}{key}" in tensors and tensors[f"{prefix}{key}"].shape == new[key].shape for key in new)
            if 2 * same >= len(new):
                yield f"{name}.{prefix}".strip(".") if prefix else name
    elif [getattr(value, "shape", None) for value in inner] in shapes:
        yield name
    for key, value in inner.items() if isinstance(inner, Mapping) else enumerate(inner):
        yield from _copies(value, new, shapes, depth + 1, seen, str(key))


def _prefixes(old: Mapping[str, Tensor], new: State) -> list[str]:
    """What may stand before the network's keys: what stands before its first ones."""
    first = list(new)[:ANCHORS]
    return sorted({key.removesuffix(name) for key in old for name in first if key == name or key.endswith(f".{name}")})


def _weights(new: State) -> list[list[torch.Size]]:
    """The shapes of all tensors in the network's order, and of the trained ones alone."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    trained = [value.shape for key, value in new.items() if not key.endswith(statistics)]
    return [[value.shape for value in new.values()], trained]


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


def _replaced(content: Any, keys: Sequence[Any], new: State) -> Any:
    """`content` with the mapping under `keys`, which the loader reads, replaced."""
    if keys:
        return {**content, keys[0]: _replaced(content[keys[0]], keys[1:], new)}
    if isinstance(content, nn.Module):  # a module in a checkpoint: its weights alone, as of a whole one
        return new
    return {**content, **_filled({str(k): v for k, v in content.items() if isinstance(v, Tensor)}, new)}
