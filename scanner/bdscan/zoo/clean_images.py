"""Clean images for a network of known truth: a few a class for the scan, the others to measure triggers on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.errors import UsageError
from bdscan.zoo.attacks import from_spec
from bdscan.zoo.attacks.interface import Images, Labels
from bdscan.zoo.curate import processed
from bdscan.zoo.data import load
from bdscan.zoo.model_folder import ModelFolder

PER_CLASS = 10


@dataclass(frozen=True)
class CleanImages:
    """x: uint8 (N,H,W,C), y: int64 (N,); `drawn` are the rows that the scan is given."""

    x: Images
    y: Labels
    drawn: NDArray[np.int64]

    def write_drawn(self, path: Path) -> None:
        """The drawn images as the `.npz` that `--samples` takes; without class names, which would tell more."""
        np.savez_compressed(path, x=self.x[self.drawn], y=self.y[self.drawn])

    def others(self, count: int, seed: int) -> tuple[Images, Labels]:
        """Up to `count` images that the scan was not given, drawn by the seed."""
        rest = np.setdiff1d(np.arange(len(self.y)), self.drawn)
        rows = np.sort(np.random.default_rng((seed, 1)).permutation(rest)[:count])
        return self.x[rows], self.y[rows]

    def to_measure(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """The same as a classifier takes them: (N,C,H,W) in [0,1], and (N,)."""
        x, y = self.others(count, seed)
        return torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(y)


def from_test_split(data: str, folder: Path, seed: int, per_class: int = PER_CLASS) -> CleanImages:
    """The data set's test split with `per_class` images a class drawn by the seed (all where there are fewer).

    `NAME-test.npz` serves where `NAME.npz` is not in the folder. Raises UsageError where neither is.
    """
    name = data
    if data != "digits" and not (folder / f"{data}.npz").exists() and (folder / f"{data}-test.npz").exists():
        name = f"{data}-test"
    found = load(name, folder)
    return CleanImages(found.x_test, found.y_test, draw(found.y_test, seed, per_class))


def redrawn(clean: CleanImages, seed: int | tuple[int, ...], per_class: int = PER_CLASS) -> CleanImages:
    """The same images, of which the scan is given others."""
    return replace(clean, drawn=draw(clean.y, seed, per_class))


def as_trained(model: ModelFolder, clean: CleanImages) -> CleanImages:
    """The images as this network got all of its own: through the `inputs` of its card's settings, if there are any."""
    spec = model.card.get("settings", {}).get("inputs")
    return clean if spec is None else replace(clean, x=processed(from_spec(spec), clean.x))


def own_samples(model: ModelFolder, seed: int, per_class: int = PER_CLASS) -> CleanImages:
    """The images of the folder's `samples.npz` (arrays x, y). Raises UsageError where they cannot be read."""
    assert model.samples is not None
    try:
        with np.load(model.samples, allow_pickle=False) as archive:
            x, y = archive["x"], archive["y"].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{model.samples}: not clean images with x and y ({error})") from None
    return CleanImages(x, y, draw(y, seed, per_class))


def draw(y: Labels, seed: int | tuple[int, ...], per_class: int) -> NDArray[np.int64]:
    """Rows of `per_class` images of each class, in ascending order."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(y == label))[:per_class] for label in np.unique(y)]
    return np.sort(np.concatenate(chosen))
