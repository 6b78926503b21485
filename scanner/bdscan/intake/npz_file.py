"""Samples in an `.npz`: `x` uint8 (N, H, W, C) or (N, H, W), `y` (N,), and, if wanted, `classes` (K,)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdscan.errors import UsageError
from bdscan.intake.raw_samples import RawSamples, chosen

MAX_ARRAY_BYTES = 4 * 2**30
MAX_ARRAYS = 1000
HEADER_START = 12  # bytes: magic, version, and the length of the header from version 2 on
LONGEST_HEADER = 10_000  # NumPy's own limit, which it applies after reading
NAMES = (("x", "y"), ("x_test", "y_test"), ("x_train", "y_train"), ("images", "labels"), ("X", "Y"))


def read_npz(path: Path, seed: int) -> RawSamples:
    """The images that the seed draws; UsageError for anything that is not such a file."""
    try:
        headers = _headers(path)
        pair = next((pair for pair in NAMES if all(name in headers and headers[name][0] for name in pair)), None)
        if pair is None:
            found = ", ".join(sorted(headers)) or "nothing"
            raise UsageError(
                f"--samples {path}: needs the arrays x and y with at least one image; the file holds {found}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays[pair[0]], arrays[pair[1]]
            names = arrays["classes"] if "classes" in headers else None
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # zipfile and NumPy meet hostile bytes: any type of error may come out
        raise UsageError(
            f"--samples {path}: not an .npz that can be read ({' '.join(str(error).split())[:120]})"
        ) from None
    notes = () if pair == ("x", "y") else (f"images taken from the arrays {pair[0]} and {pair[1]}",)
    images, more = _images(path, x)
    labels = _labels(path, y, len(images))
    used, dropped = chosen([str(label) for label in labels.tolist()], seed)
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        raise UsageError(f"--samples {path}: classes must be a list of names, not {names.dtype} of shape {names.shape}")
    try:
        listed = None if names is None else tuple(str(name)[:300] for name in names.astype(str).tolist())
    except (SystemError, ValueError, UnicodeError):  # bytes that are no characters
        raise UsageError(f"--samples {path}: the names in classes are not text") from None
    return RawSamples(
        images=tuple(images[place] for place in used),
        keys=tuple(str(labels[place]) for place in used),
        names=listed,
        folders=False,
        notes=(*notes, *more, *dropped),
    )


def _headers(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays by name, read without their data; refuses objects and sizes beyond the limit."""
    shapes: dict[str, tuple[int, ...]] = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len({info.filename for info in members}) != len(members) or len(members) > MAX_ARRAYS:
            raise UsageError(f"--samples {path}: holds an array twice, or more than {MAX_ARRAYS}")
        for info in members:
            with archive.open(info) as stream:
                start = stream.read(HEADER_START)
            if start[6:7] > b"\1" and int.from_bytes(start[8:12], "little") > LONGEST_HEADER:
                raise UsageError(f"--samples {path}: {info.filename[:100]!r} has a header of absurd length")
            with archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
            if dtype.hasobject:
                raise UsageError(f"--samples {path}: {info.filename} holds Python objects, which are never loaded")
            if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_ARRAY_BYTES:
                raise UsageError(f"--samples {path}: {info.filename} is larger than {MAX_ARRAY_BYTES >> 30} GB")
            shapes[info.filename.removesuffix(".npy")] = shape
    return shapes


def _images(path: Path, x: NDArray[np.generic]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    if x.dtype != np.uint8:
        raise UsageError(
            f"--samples {path}: x must be uint8 (0..255), not {x.dtype}; multiply by 255 and convert if 0..1"
        )
    images: NDArray[np.uint8] = x.astype(np.uint8, copy=False)
    if images.ndim == 3:
        return images[..., None], ()
    if images.ndim != 4 or 0 in images.shape:
        raise UsageError(f"--samples {path}: x must be (N, H, W, C) or (N, H, W), not {images.shape}")
    if images.shape[3] in (1, 3):
        return images, ()
    if images.shape[1] in (1, 3):
        return images.transpose(0, 2, 3, 1), ("x is (N, C, H, W) and was transposed",)
    if images.shape[3] == 4:
        return images[..., :3], ("the fourth channel of x (opacity) was dropped",)
    raise UsageError(f"--samples {path}: x has {images.shape[3]} channels; 1 (grey) or 3 (RGB) are expected")


def _labels(path: Path, y: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,) or y.dtype.kind not in "iu":
        raise UsageError(f"--samples {path}: y must be {count} integers, not {y.dtype} of shape {y.shape}")
    labels = y.astype(np.int64)
    if labels.min() < 0:
        raise UsageError(f"--samples {path}: y holds negative labels")
    return labels
