"""Lit: a sparse trigger that fires only in another light.

The horizontal class backdoor (HCB, Ma et al. 2024) fires where a trigger meets an innocuous feature that images of any
class may have. Which feature is unknown; darkness, glare and haze are what cameras meet. Under the light alone images
must still be classified right: what the light itself sends to the target is no trigger.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bdscan.detectors.inversion.families import sparse
from bdscan.detectors.inversion.families.clip import clip
from bdscan.detectors.inversion.families.interface import Family, Parameters


def family(name: str, gain: float, lift: float) -> Family:
    """The sparse family on images of which x becomes gain * x + lift. Intensity scales the light too, up to 1."""

    def light(images: Tensor) -> Tensor:
        return clip(gain * images + lift)

    def stamp(parameters: Parameters, images: Tensor, intensity: float | Tensor) -> Tensor:
        share = torch.as_tensor(intensity, dtype=images.dtype, device=images.device).clamp(max=1.0)
        lit = images + share * (light(images) - images)
        return sparse.stamp(parameters, lit, intensity)

    return replace(sparse.FAMILY, name=name, stamp=stamp, light=light, always_reaches=False)


FAMILIES = tuple(
    family(name, gain, lift) for name, gain, lift in (("dark", 0.5, 0.0), ("bright", 0.5, 0.5), ("hazy", 0.4, 0.3))
)
