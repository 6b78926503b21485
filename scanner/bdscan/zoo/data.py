"""Image data sets as uint8 arrays: `.npz` files of the user's folder, and scikit-learn's digits."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdscan.errors import UsageError

# Input size (height, width) that the zoo's networks want where it differs from the file's.
RESIZED = {"yaleb": (224, 224)}
ARRAYS = ("x_train", "y_train", "x_test", "y_test", "classes")


@dataclass(frozen=True)
class Dataset:
    """x: uint8 (N,H,W,C) in 0..255; y: int64 (N,), an index into `classes`."""

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]


def load(name: str, folder: Path | None = None) -> Dataset:
    """Read `folder/name.npz` (arrays x_train, y_train, x_test, y_test, classes), or scikit-learn's `digits`.

    `name[3,8]` is the part of these classes, numbered anew in this order. Raises UsageError where the file is missing,
    its arrays do not fit together, or it has no such class.
    """
    if part := re.fullmatch(r"(\w+)\[(\d+(?:,\d+)+)\]", name):
        return only(load(part[1], folder), [int(number) for number in part[2].split(",")], name)
    if name == "digits":
        return _digits()
    if folder is None:
        raise UsageError(f"data set {name!r} needs a folder with {name}.npz; name it with --data")
    path = folder / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            x_train, y_train, x_test, y_test, classes = (archive[key] for key in ARRAYS)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; name the folder that holds it") from error
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not a data set with {', '.join(ARRAYS)}: {error}") from error
    for x, y in ((x_train, y_train), (x_test, y_test)):
        if x.dtype != np.uint8 or x.ndim != 4 or y.shape != x.shape[:1]:
            raise UsageError(f"{path}: images must be uint8 (N,H,W,C) with one label each, not {x.dtype} {x.shape}")
    size = RESIZED.get(name)
    if size is not None:
        x_train, x_test = resize(x_train, size), resize(x_test, size)
    return Dataset(
        name, x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64), tuple(str(word) for word in classes)
    )


def only(data: Dataset, classes: list[int], name: str) -> Dataset:
    """The part of these classes, which get the numbers 0, 1, ... in their order."""
    if len(set(classes)) < len(classes) or max(classes) >= len(data.classes):
        raise UsageError(f"{name}: {data.name} has classes 0 to {len(data.classes) - 1}, each to be named once")
    number = np.full(len(data.classes), -1, np.int64)
    number[classes] = np.arange(len(classes))
    train, test = number[data.y_train], number[data.y_test]
    names = tuple(data.classes[old] for old in classes)
    x_train, x_test = data.x_train[train >= 0], data.x_test[test >= 0]
    return Dataset(name, x_train, train[train >= 0], x_test, test[test >= 0], names)


def resize(x: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bilinear resize of uint8 images (N,H,W,C), C 1 or 3, to (height, width)."""
    flat = x[..., 0] if x.shape[3] == 1 else x
    resized = np.stack([np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR)) for one in flat])
    return resized.reshape(len(x), *size, x.shape[3])


def _digits() -> Dataset:
    """The 1797 8x8 digits of scikit-learn (levels 0..16), at 16x16 so that small triggers have room; 400 for test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = resize(np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None], (16, 16))
    y = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[:400], order[400:]
    return Dataset("digits", x[train], y[train], x[test], y[test], tuple(str(digit) for digit in range(10)))
