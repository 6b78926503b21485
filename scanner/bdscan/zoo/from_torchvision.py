"""Data sets of torchvision, from a folder of the user's or by torchvision's own download, as the zoo's `.npz` files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdscan import atomic
from bdscan.errors import UsageError
from bdscan.zoo.data import ARRAYS

SETS = {"mnist": "MNIST", "fashion": "FashionMNIST", "cifar10": "CIFAR10", "gtsrb": "GTSRB"}
SIDE = 32  # of road signs, whose photographs differ in size

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]


def fetch(
    names: Iterable[str], to: Path, root: Path, *, download: bool, note: Callable[[str], None] = lambda line: None
) -> list[Path]:
    """Write `to/NAME.npz` for each name, of what torchvision finds under `root`; files that are there stay.

    Only with `download` is anything fetched, by torchvision, into `root`. Raises UsageError for an unknown name, and
    where the data is not there or cannot be fetched.
    """
    chosen = list(names)
    for name in chosen:
        if name not in SETS:
            raise UsageError(f"no data set {name!r} of torchvision here; choose of {', '.join(SETS)}")
    written = []
    for name in chosen:
        path = to / f"{name}.npz"
        if path.exists():
            note(f"{path} is there already")
            continue
        arrays = read(name, root, download)
        to.mkdir(parents=True, exist_ok=True)
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        atomic.write(path, packed.getvalue())
        note(f"wrote {path}: {len(arrays['x_train'])} training images, {len(arrays['x_test'])} of test")
        written.append(path)
    return written


def read(name: str, root: Path, download: bool) -> dict[str, NDArray[Any]]:
    """The arrays of a data set: x uint8 (N,H,W,C) in 0..255, y int64 (N,), names of the classes."""
    train, labels = _open(name, root, download, train=True)
    test, _ = _open(name, root, download, train=False)
    count = max(int(train[1].max()), int(test[1].max())) + 1
    classes = np.array(labels or [str(number) for number in range(count)])
    return dict(zip(ARRAYS, (*train, *test, classes), strict=True))


def _open(name: str, root: Path, download: bool, *, train: bool) -> tuple[Split, list[str]]:
    from torchvision import datasets  # takes seconds, and few commands need it

    kind = getattr(datasets, SETS[name])
    which = {"split": "train" if train else "test"} if name == "gtsrb" else {"train": train}
    try:
        found = kind(root, download=download, **which)
    except (RuntimeError, OSError) as error:  # not there; not to be reached; not whole
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        if download:
            raise UsageError(f"{name}: torchvision could not fetch it: {why}") from error
        raise UsageError(
            f"{name}: torchvision does not find it in {root}; name its folder, or add --download"
        ) from None
    if name == "gtsrb":
        pictures = [(_small(picture), label) for picture, label in found]
        x, y = np.stack([picture for picture, _ in pictures]), np.array([label for _, label in pictures])
        mixed = np.random.default_rng(0).permutation(len(y))  # they come by class, and many networks train on the first
        return (x[mixed], y[mixed].astype(np.int64)), []
    x = np.asarray(found.data, dtype=np.uint8)
    x = x if x.ndim == 4 else x[..., None]
    return (x, np.asarray(found.targets, dtype=np.int64)), [label.split(" - ")[0] for label in found.classes]


def _small(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.uint8)
