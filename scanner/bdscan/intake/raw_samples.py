"""The user's images as they are, before a model's shape or class order is known."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from bdscan.intake.presented import LUMA

Image = NDArray[np.uint8]  # (H, W, C), C is 1 or 3

CLASS_CAP = 20
TOTAL_CAP = 2000
FLOOR_CAP = 200  # few classes: as many images in all as ten classes of twenty


@dataclass(frozen=True)
class RawSamples:
    """Images (H, W, C) uint8, their class keys (folder names, or integers as text), and what is known of the names.

    Attributes:
        keys: one per image; what `label_names` turns into output indices.
        names: class names in output order where the file itself says so (`classes` of an .npz).
        folders: whether keys are folder names.
    """

    images: tuple[Image, ...]
    keys: tuple[str, ...]
    names: tuple[str, ...] | None
    folders: bool
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        return max(int(image.shape[2]) for image in self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) that most images have."""
        ((size, _),) = Counter(image.shape[:2] for image in self.images).most_common(1)
        return int(size[0]), int(size[1])


def class_cap(classes: int) -> int:
    """How many images of a class are used, at most: bounded time for any sample set."""
    return max(2, min(max(CLASS_CAP, FLOOR_CAP // max(classes, 1)), TOTAL_CAP // max(classes, 1)))


def chosen(keys: list[str], seed: int) -> tuple[list[int], tuple[str, ...]]:
    """Positions of the images to use, at most `class_cap` a class, drawn by the seed; in their original order."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    cap = class_cap(len(places))
    rng = np.random.default_rng(seed)
    kept = [
        places[key] if len(places[key]) <= cap else [places[key][i] for i in rng.permutation(len(places[key]))[:cap]]
        for key in sorted(places)
    ]
    used = sorted(place for group in kept for place in group)
    dropped = len(keys) - len(used)
    return used, (
        f"{len(used)} of {len(keys)} images used, at most {cap} a class, drawn by the seed",
    ) if dropped else ()


def to_shape(raw: RawSamples, shape: tuple[int, int, int]) -> Tensor:
    """All images as uint8 (N, C, H, W), resized (bilinear, antialiased) and with channels converted where needed."""
    return torch.stack([_fitted(image, shape) for image in raw.images])


def _fitted(image: Image, shape: tuple[int, int, int]) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if x.shape == shape:
        return x.contiguous()
    pixels = x.float()
    if shape[0] == 1 and x.shape[0] == 3:
        pixels = (pixels * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    elif x.shape[0] == 1:
        pixels = pixels.expand(shape[0], -1, -1)
    if pixels.shape[1:] != shape[1:]:
        pixels = functional.interpolate(
            pixels[None], size=shape[1:], mode="bilinear", antialias=True, align_corners=False
        )[0]
    return pixels.round().clamp(0, 255).to(torch.uint8)


def pixels_digest(raw: RawSamples) -> str:
    """SHA-256 over the pixels and class keys that are used."""
    digest = hashlib.sha256()
    for image, key in zip(raw.images, raw.keys, strict=True):
        digest.update(f"{image.shape} {key!r}\n".encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()
