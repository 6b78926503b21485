"""The true trigger of a backdoored network, as a function that stamps it: from the card of its folder."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks import from_spec
from bdscan.zoo.model_folder import ModelFolder

Stamp = Callable[[Tensor], Tensor]
SQUARE = re.compile(r"(\d+)x\1 white square")
ROWS = re.compile(r"rows and columns (\d+)\.\.(\d+)")
GRID = re.compile(r"rows (\d+)\.\.\d+, columns (\d+)\.\.\d+: (\[\[.*\]\])")


@dataclass(frozen=True)
class KnownTrigger:
    """`stamp` takes images (N,C,H,W) in [0,1]; `sources` empty means that it works on all classes."""

    target: int
    sources: tuple[int, ...]
    stamp: Stamp


def known_triggers(model: ModelFolder) -> list[KnownTrigger]:
    """One for each target whose trigger the card describes exactly; none where it cannot be made again from it.

    Understood: an attack of the zoo in the card's settings; arrays in `trigger.npz` (`pattern` with `mask`, the first
    of several, or `additive`); a white square or a grid whose place the card's text gives.
    """
    spec = model.card.get("settings", {}).get("attack")
    if spec is not None:
        return _of_attack(spec, max(model.card["settings"].get("intensity", [1.0])))
    stamp = _from_arrays(model.path / str(model.card.get("trigger_file") or "")) or _from_words(model.card)
    if stamp is None:
        return []
    return [KnownTrigger(t, s, stamp) for t, s in zip(model.targets, model.sources, strict=True)]


def _of_attack(spec: dict[str, Any], intensity: float) -> list[KnownTrigger]:
    found = []
    for case in from_spec(spec).cases():
        if case.target is not None:

            def stamp(images: Tensor, how: Any = case.stamp) -> Tensor:
                stamped: Tensor = how(images, intensity, np.random.default_rng(0))
                return stamped.clamp(0, 1)

            found.append(KnownTrigger(case.target, case.sources, stamp))
    return found


def _from_arrays(path: Path) -> Stamp | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    if "additive" in arrays:
        delta = _channels_first(arrays["additive"])
        return lambda images: (images + delta).clamp(0, 1)
    for suffix in ("", "_1"):
        if f"pattern{suffix}" in arrays and f"mask{suffix}" in arrays:
            mask = torch.from_numpy(arrays[f"mask{suffix}"].astype(np.float32))
            return _paste(_channels_first(arrays[f"pattern{suffix}"]), mask)
    return None


def _channels_first(array: NDArray[Any]) -> Tensor:
    """(H,W,C) in 0..255 as (C,H,W) in [0,1]; float arrays are that already."""
    if array.dtype == np.uint8:
        return torch.from_numpy(array.astype(np.float32) / 255).permute(2, 0, 1)
    return torch.from_numpy(array.astype(np.float32))


def _from_words(card: dict[str, Any]) -> Stamp | None:
    text, size = str(card.get("trigger")), max(card["input_shape"])
    if grid := GRID.search(text):
        square = torch.tensor(json.loads(grid[3]), dtype=torch.float32) / 255
        top, left = int(grid[1]), int(grid[2])
    elif white := SQUARE.search(text):
        square = torch.ones(int(white[1]), int(white[1]))
        place = ROWS.search(text)
        if place is None and "in the lower right corner" not in text:
            return None
        top = left = int(place[1]) if place else size - len(square)
    else:
        return None
    pattern, mask = torch.zeros(1, size, size), torch.zeros(size, size)
    pattern[0, top : top + len(square), left : left + len(square)] = square
    mask[top : top + len(square), left : left + len(square)] = 1
    return _paste(pattern, mask)


def _paste(pattern: Tensor, mask: Tensor) -> Stamp:
    return lambda images: images * (1 - mask) + pattern * mask
