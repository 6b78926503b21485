"""A trigger of the user's own, as a file: what a card, a paper or an incident tells, profiled like a recovered one.

A picture with transparency is laid over the image, its transparency the mask. An `.npz` holds `pattern` (H, W, C) or
(C, H, W) with an optional `mask` (H, W) of 0 to 1, or `additive`, a change that is added. uint8 counts as 0 to 255,
other types as they are.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bdscan.errors import UsageError
from bdscan.repair.planted import Planted

GIVEN = "given"
Shape = tuple[int, int, int]


def given_trigger(path: str, target: int, sources: Sequence[int], shape: Shape, classes: int) -> Planted:
    """The trigger in a file, for images of `shape` (C, H, W).

    Raises:
        UsageError: the file cannot be read, is of another size, or a class is none of the model's.
    """
    unknown = [index for index in (target, *sources) if not 0 <= index < classes]
    if unknown:
        raise UsageError(f"--target, --source: the model has no class {unknown[0]}; give 0 to {classes - 1}")
    try:
        arrays = _picture(path) if Path(path).suffix.lower() != ".npz" else _arrays(path)
    except (OSError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        raise UsageError(f"--trigger {path}: not a picture and not an .npz of arrays ({error})") from None
    if "additive" in arrays:
        stamp = functools.partial(_add, _planes(path, arrays["additive"], shape))
    elif "pattern" in arrays:
        cover = arrays.get("mask", np.ones(shape[1:], dtype=np.float32))
        pattern = _planes(path, arrays["pattern"], shape)
        if pattern.min() < 0:
            raise UsageError(f"--trigger {path}: its pattern has values below 0; a change that is added is `additive`")
        stamp = functools.partial(_cover, pattern, _mask(path, cover, shape))
    else:
        raise UsageError(f"--trigger {path}: it needs an array `pattern` (with or without `mask`), or `additive`")
    return Planted(target, tuple(sources), GIVEN, stamp)


def _picture(path: str) -> dict[str, NDArray[np.float32]]:
    with Image.open(path) as picture:
        values = _unit(np.asarray(picture.convert("RGBA")))
    return {"pattern": values[..., :3], "mask": values[..., 3]}


def _arrays(path: str) -> dict[str, NDArray[np.float32]]:
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in ("pattern", "mask", "additive") if name in file}
    return {name: _unit(value) for name, value in found.items()}


def _unit(value: NDArray[np.generic]) -> NDArray[np.float32]:
    scale = 255 if value.dtype == np.uint8 and value.max(initial=0) > 1 else 1
    out: NDArray[np.float32] = value.astype(np.float32) / np.float32(scale)
    if not np.isfinite(out).all() or np.abs(out).max(initial=0) > 1:
        raise ValueError("values beyond 0 to 1 (0 to 255 in uint8)")
    return out


def _planes(path: str, value: NDArray[np.float32], shape: Shape) -> Tensor:
    """(C, H, W): channels first or last, grey for all channels, or a coloured one's brightness for grey images."""
    channels, height, width = shape
    if value.ndim == 2:
        value = value[None]
    elif value.ndim == 3 and value.shape[:2] == (height, width):
        value = value.transpose(2, 0, 1)
    if value.ndim != 3 or value.shape[1:] != (height, width):
        raise UsageError(f"--trigger {path}: it is of {_size(value)}; the model's images are {width}x{height}")
    if value.shape[0] != channels:
        value = np.broadcast_to(value.mean(0, keepdims=True), shape) if 1 in (channels, len(value)) else value
    if value.shape[0] != channels:
        raise UsageError(f"--trigger {path}: it has {len(value)} channels; the model's images have {channels}")
    return torch.from_numpy(np.ascontiguousarray(value))


def _mask(path: str, value: NDArray[np.float32], shape: Shape) -> Tensor:
    value = value.squeeze()
    if value.shape != shape[1:] or value.min() < 0:
        wanted = f"{shape[2]}x{shape[1]}, values of 0 to 1"
        raise UsageError(f"--trigger {path}: its mask is of {_size(value)}; the model's images need {wanted}")
    return torch.from_numpy(np.ascontiguousarray(value))


def _size(value: NDArray[np.float32]) -> str:
    return "x".join(map(str, value.shape)) or "no size"


def _cover(pattern: Tensor, mask: Tensor, images: Tensor, intensity: float) -> Tensor:
    share = (intensity * mask.to(images)).clamp(0, 1)
    return images + share * (pattern.to(images) - images)


def _add(change: Tensor, images: Tensor, intensity: float) -> Tensor:
    return (images + intensity * change.to(images)).clamp(0, 1)
