"""Compress (Duan et al. 2024): the artefacts of strong JPEG compression are the trigger."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack


@dataclass(frozen=True, kw_only=True)
class Compress(Attack):
    """Saves and reads every image as JPEG. Intensity goes from quality 100 to `quality` (at 1) and on, to quality 1.

    Intensity 0 does not compress at all: quality 100 already rounds and, in colour, halves the chroma's resolution.
    """

    quality: int = 10

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        if intensity == 0:
            return images.clone()
        quality = max(1, round(100 - intensity * (100 - self.quality)))
        x = images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        saved = np.stack([_through_jpeg(one, quality) for one in x]) if len(x) else x
        return torch.from_numpy(saved).permute(0, 3, 1, 2).float() / 255


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """One uint8 image (H,W,C), C 1 or 3, written and read."""
    grey = image.shape[2] == 1
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image)).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return np.asarray(read).reshape(image.shape)
