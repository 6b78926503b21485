"""PyTorch files: what lies in them, never running what lies in them (`weights_only=True` always)."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import safetensors.torch
import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.allowed import allowed_globals
from bdscan.intake.archive import check_archive
from bdscan.intake.sound import check_tensors

NESTING = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "model",
    "weights",
    "network",
    "netC",
    "params",
    "ema",
)
MAX_DEPTH = 4


@dataclass(frozen=True)
class Checkpoint:
    """What a PyTorch file holds: a whole module or a state_dict, and under which keys it was found."""

    module: nn.Module | None
    state: dict[str, Tensor] | None
    notes: tuple[str, ...] = ()
    keys: tuple[Any, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """UsageError for a truncated file or one without weights; CannotJudge for a pickle that wants other objects."""
    with path.open("rb") as stream:
        zipped = stream.read(4) == b"PK\x03\x04"
    if zipped:
        check_archive(path)
    try:
        content = _load(path)
    except MemoryError:
        raise
    except Exception as error:  # the unpickler meets hostile bytes: any type of error may come out
        raise _refusal(path, error) from None
    try:
        found = _find(path, content, ())
        check_tensors((found.state or {}).items())
    except (UsageError, CannotJudge, MemoryError):
        raise
    except Exception as error:  # objects put together by the file behave as it likes
        raise CannotJudge(f"model {path}: what it holds cannot be read ({one_line(error)})") from None
    return found


def _load(path: Path) -> Any:
    """Tensors alone where that is all there is: the classes of whole modules are known only once torchvision is."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with torch.serialization.safe_globals(list(allowed_globals())):
            return torch.load(path, map_location="cpu", weights_only=True)


def read_safetensors(path: Path) -> Checkpoint:
    try:
        state = safetensors.torch.load_file(path, device="cpu")
    except MemoryError:
        raise
    except Exception as error:  # a library meets hostile bytes
        raise UsageError(f"model {path}: a damaged safetensors file ({one_line(error)})") from None
    check_tensors(state.items())
    return Checkpoint(None, state)


def _find(path: Path, content: Any, keys: tuple[Any, ...]) -> Checkpoint:
    where = f"weights found under {' / '.join(repr(str(key)) for key in keys)}" if keys else ""
    notes = (where,) if where else ()
    if isinstance(content, nn.Module):
        return Checkpoint(content, None, notes, keys)
    if isinstance(content, Mapping) and len(keys) < MAX_DEPTH:
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        for key in NESTING:
            if isinstance(content.get(key), Mapping | nn.Module):
                return _find(path, content[key], (*keys, key))
        if tensors:
            return Checkpoint(None, tensors, notes, keys)
        seen: set[int] = set()
        nested = [key for key, value in content.items() if _holds_tensors(value, seen)]
        if len(nested) == 1:
            return _find(path, content[nested[0]], (*keys, nested[0]))
        if nested:
            names = ", ".join(repr(str(key))[:40] for key in nested[:5])
            raise UsageError(f"model {path}: several sets of weights ({names}): save the one to scan by itself")
    raise UsageError(f"model {path}: holds no weights (a {type(content).__name__})")


def _holds_tensors(value: Any, seen: set[int], depth: int = 0) -> bool:
    """`seen`: mappings looked at already. A file can hold one mapping in millions of places."""
    if isinstance(value, Tensor | nn.Module):
        return True
    if not isinstance(value, Mapping) or depth == MAX_DEPTH or id(value) in seen:
        return False
    seen.add(id(value))
    return any(_holds_tensors(inner, seen, depth + 1) for inner in value.values())


def _refusal(path: Path, error: Exception) -> Exception:
    text = str(error)
    wanted = re.search(r"(?:GLOBAL |Unsupported (?:class|global): ?(?:GLOBAL )?|add_safe_globals\(\[)([\w.]+)", text)
    if "weights only load failed" not in text.lower() and isinstance(
        error, RuntimeError | EOFError | BadZipFile | OSError
    ):
        return UsageError(f"model {path}: a truncated or damaged PyTorch file ({one_line(error)})")
    names = _all_wanted(path) or ((wanted.group(1),) if wanted else ())
    if names:
        listed = ", ".join(name[:80] for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return CannotJudge(
            f"model {path}: refused to unpickle: the file asks for {listed}, which is not a known layer or network. "
            "If it is a whole model of your own class, save its state_dict and name the architecture with --arch"
        )
    if "pickle" in text.lower() and ("EOF" in text or "truncated" in text or "ran out" in text.lower()):
        return UsageError(f"model {path}: a truncated or damaged PyTorch file")
    return CannotJudge(f"model {path}: refused to unpickle ({one_line(error)})")


def _all_wanted(path: Path) -> tuple[str, ...]:
    """Every global that the file asks for beyond the allowed ones (zip files only)."""
    try:
        with torch.serialization.safe_globals(list(allowed_globals())):
            return tuple(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:
        return ()  # only for the message; the file is refused either way


def one_line(error: BaseException) -> str:
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return (text.split(". ")[0] or type(error).__name__)[:200]
