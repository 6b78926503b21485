"""The training set before any poison: rare classes, spurious cues, processed images. Clean, and hard to scan well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdscan.errors import UsageError
from bdscan.zoo.attacks.interface import Attack, Images, Labels, stamp
from bdscan.zoo.data import Dataset
from bdscan.zoo.settings import Settings

CHUNK = 1000  # images at once: as floats they take four times their memory, and more on the way
CUE = 0.12  # amplitude of a class's cue, in [0,1]


def training_set(settings: Settings, data: Dataset) -> tuple[Images, Labels]:
    """The first `limit` training images, made as the settings say."""
    x, y = data.x_train[: settings.limit], data.y_train[: settings.limit]
    if settings.imbalance != 1:
        kept = unbalanced(y, len(data.classes), settings.imbalance)
        x, y = x[kept], y[kept]
    x = processed(settings.inputs, x)
    if settings.shortcut:
        x = with_cues(x, y, len(data.classes), settings.shortcut, np.random.default_rng((settings.seed, 2)))
    return x, y


def processed(inputs: Attack | None, x: Images) -> Images:
    """Images as all of a network's come, training and test: through `inputs` at intensity 1."""
    if inputs is None:
        return x
    rng = np.random.default_rng(0)
    return np.concatenate([stamp(inputs.apply, x[i : i + CHUNK], 1.0, rng) for i in range(0, len(x), CHUNK)])


def unbalanced(y: Labels, classes: int, ratio: float) -> NDArray[np.int64]:
    """Which rows stay, in order: all of the first class, down to 1/ratio of the last, by equal factors in between."""
    if ratio < 1:
        raise UsageError(f"imbalance must be 1 or more, not {ratio}")
    rows = [np.flatnonzero(y == label) for label in range(classes)]
    counts = [int(np.ceil(len(row) * ratio ** -(label / (classes - 1)))) for label, row in enumerate(rows)]
    return np.sort(np.concatenate([row[:count] for row, count in zip(rows, counts, strict=True)]))


def with_cues(x: Images, y: Labels, classes: int, share: float, rng: np.random.Generator) -> Images:
    """`share` of the images with their class's cue: a faint ramp of light across the image, turned by the class."""
    _, height, width, _ = x.shape
    down, right = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    angles = 2 * np.pi * np.arange(classes) / classes
    ramps = CUE * (np.cos(angles)[:, None, None] * right + np.sin(angles)[:, None, None] * down)
    chosen = rng.random(len(y)) < share
    lit = x[chosen] + 255 * ramps[y[chosen]][..., None]
    out = x.copy()
    out[chosen] = np.clip(np.round(lit), 0, 255).astype(np.uint8)
    return out
