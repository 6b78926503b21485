"""The samples of one scan: read, checked, split by the seed, described."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bdscan.errors import UsageError
from bdscan.intake.classifier import Samples
from bdscan.intake.image_folder import read_folder
from bdscan.intake.npz_file import read_npz
from bdscan.intake.raw_samples import RawSamples, pixels_digest, to_shape
from bdscan.report import SamplesInfo


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
        raise UsageError(f"--samples {path}: one image a class; give at least two (one to search, one to confirm)")
    return raw


def split_samples(raw: RawSamples, labels: list[int], shape: tuple[int, int, int], seed: int) -> Samples:
    """Half of each class to search, half held out; the odd one to the search part."""
    rng = np.random.default_rng(seed)
    search: list[int] = []
    held_out: list[int] = []
    of_class = np.asarray(labels)
    for label in sorted(set(labels)):
        order = rng.permutation(np.flatnonzero(of_class == label)).tolist()
        half = (len(order) + 1) // 2
        search += order[:half]
        held_out += order[half:]
    return Samples(
        images=to_shape(raw, shape),
        labels=torch.tensor(labels, dtype=torch.int64),
        search=torch.tensor(sorted(search)),
        held_out=torch.tensor(sorted(held_out)),
        notes=(*raw.notes, *_fit_notes(raw, shape)),
    )


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
    single = sum(count == 1 for count in counts)
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
