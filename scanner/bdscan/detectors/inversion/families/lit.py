"""Lit: a sparse trigger that fires only in another light.

The horizontal class backdoor (HCB, Ma et al. 2024) fires where a trigger meets an innocuous feature that images of any
class may have. Which feature is unknown; darkness, glare, haze and a lens out of focus are what cameras meet. Under the
light alone images must still be classified right: what the light itself sends to the target is no trigger.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bdscan.detectors.inversion.families import sparse
from bdscan.detectors.inversion.families.blur import blur
from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Light, Parameters

OUT_OF_FOCUS = 1 / 30  # sigma of the blur, in shorter sides


def linear(gain: float, lift: float) -> Light:
    return lambda images: clip(gain * images + lift)


def blurred(images: Tensor) -> Tensor:
    flat = images.flatten(0, -4)
    return blur(flat, OUT_OF_FOCUS * min(images.shape[-2:])).view(images.shape)


def family(name: str, light: Light) -> Family:
    """The sparse family on images in a light. Intensity scales the light too, up to 1."""

    def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
        share = torch.as_tensor(intensity, dtype=images.dtype, device=images.device).clamp(max=1.0)
        lit = images + share * (light(images) - images)
        return sparse.stamp(parameters, lit, intensity)

    return replace(sparse.FAMILY, name=name, stamp=stamp, light=light, always_reaches=False)


FAMILIES = (
    family("dark", linear(0.5, 0.0)),
    family("bright", linear(0.5, 0.5)),
    family("hazy", linear(0.4, 0.3)),
    family("blurred", blurred),
)
