"""The samples of one scan: read, checked, split by the seed, described."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from bdscan.errors import UsageError
from bdscan.intake.classifier import Samples
from bdscan.intake.image_folder import read_folder
from bdscan.intake.npz_file import read_npz
from bdscan.intake.raw_samples import RawSamples, pixels_digest, to_shape
from bdscan.report import SamplesInfo

TWO: Final = "give at least two (one to search, one to confirm)"


def read_samples(path: str, seed: int) -> RawSamples:
    """A folder of class folders or an `.npz`; at least two classes, one of them with two images."""
    place = Path(path)
    if not place.exists():
        raise UsageError(f"--samples {path}: no such file or folder")
    raw = read_folder(place, seed) if place.is_dir() else read_npz(place, seed)
    counts = [raw.keys.count(key) for key in sorted(set(raw.keys))]
    if len(counts) < 2:
        raise UsageError(f"--samples {path}: images of one class only; give at least two images of each of the classes")
    if max(counts) < 2:
        raise UsageError(f"--samples {path}: one image a class; {TWO}")
    return raw


def split_samples(raw: RawSamples, labels: list[int], shape: tuple[int, int, int], seed: int) -> Samples:
    """Half of the different images of each class to search, half held out; the odd one to the search part.

    Copies of an image, with its label and the same pixels at `shape` (C, H, W), lie where it lies: held-out images are
    to be unseen ones. Without copies the seed alone decides. UsageError where no class has two different images.
    """
    rng = np.random.default_rng(seed)
    images = to_shape(raw, shape)
    first = _first_like(images, labels)
    search: list[int] = []
    held_out: list[int] = []
    of_class = np.asarray(labels)
    for label in sorted(set(labels)):
        order = rng.permutation(np.flatnonzero(of_class == label)).tolist()
        different = list(dict.fromkeys(first[place] for place in order))
        to_search = set(different[: (len(different) + 1) // 2])
        for place in order:
            (search if first[place] in to_search else held_out).append(place)
    if not held_out:
        raise UsageError(f"--samples: every class has copies of one image only; {TWO}")
    copies = len(first) - len(set(first))
    repeated = f"images that repeat another of their class pixel for pixel: {copies}; copies are never in both halves"
    return Samples(
        images=images,
        labels=torch.tensor(labels, dtype=torch.int64),
        search=torch.tensor(sorted(search)),
        held_out=torch.tensor(sorted(held_out)),
        notes=(*raw.notes, *_fit_notes(raw, shape), *((repeated,) if copies else ())),
    )


def _first_like(images: Tensor, labels: list[int]) -> list[int]:
    """For each of `images` (N, C, H, W) the place of the first that has its pixels and its label."""
    places: dict[tuple[int, bytes], int] = {}
    pixels = (hashlib.sha256(image.tobytes()).digest() for image in images.numpy())
    return [places.setdefault(own, place) for place, own in enumerate(zip(labels, pixels, strict=True))]


def _fit_notes(raw: RawSamples, shape: tuple[int, int, int]) -> list[str]:
    notes = []
    channels, height, width = shape
    other = sorted({image.shape[:2] for image in raw.images if image.shape[:2] != (height, width)})
    if other:
        sizes = f"{other[0][0]}x{other[0][1]}" if len(other) == 1 else f"{len(other)} sizes"
        notes.append(f"images of {sizes} resized to the model's {height}x{width}")
    if any(image.shape[2] != channels for image in raw.images):
        notes.append("colour images converted to grey" if channels == 1 else "grey images given to a colour model")
    return notes


def describe_samples(path: str, raw: RawSamples, samples: Samples, outputs: int) -> SamplesInfo:
    counts = torch.bincount(samples.labels, minlength=outputs).tolist()
    notes = list(samples.notes)
    missing = [str(label) for label, count in enumerate(counts) if count == 0]
    if missing:
        listed = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        notes.append(f"no images of {len(missing)} of the {outputs} classes ({listed})")
    held_out = torch.bincount(samples.labels[samples.held_out], minlength=outputs).tolist()
    single = sum(count > held == 0 for count, held in zip(counts, held_out, strict=True))  # copies are one image
    if single:
        notes.append(f"{single} classes have one image only and none in the held-out part")
    return SamplesInfo(
        path=path,
        digest=pixels_digest(raw),
        count=len(samples.labels),
        per_class=tuple(counts),
        search=len(samples.search),
        held_out=len(samples.held_out),
        notes=tuple(notes),
    )
