"""HCB, the horizontal class backdoor (Ma et al. 2024): fires where trigger and an innocuous feature come together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.detectors.inversion.families.blur import blur
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import Attack, Case

LIGHTS = {"dark": (0.45, 0.0), "bright": (0.55, 0.45), "haze": (0.4, 0.3)}  # x becomes gain * x + lift
SIGMA, CORNERS = 0.8, 0.85  # of the blur in pixels; light lost in the corners
FEATURES = (*LIGHTS, "blur", "vignette")


@dataclass(frozen=True, kw_only=True)
class Hcb(Attack):
    """`trigger` on images that look like `feature`, whatever their class. Intensity scales the trigger and the look.

    The paper takes features that part of each class has by nature (a smile, rain). No label of ours says which images
    do, so the look is put on: images by night, in glare, in fog, out of focus or with dark corners. `cover` times the
    poison rate, images with the trigger alone, and as many with the look alone, keep their labels.
    """

    trigger: Attack = field(default=BadNets())
    feature: str = "dark"
    cover: float = 1.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self.trigger.apply(self.look(images, intensity, rng), intensity, rng)

    def look(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """The innocuous feature, at intensity 1 and above in full."""
        if self.feature not in FEATURES:
            raise ValueError(f"feature must be one of {', '.join(FEATURES)}, not {self.feature!r}")
        return images.lerp(seen(images, self.feature), min(intensity, 1.0))

    def cases(self) -> tuple[Case, ...]:
        attack = Case(self.apply, self.target)
        covers = tuple(Case(how, None, weight=self.cover) for how in (self.trigger.apply, self.look))
        return (attack, *covers) if self.cover else (attack,)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        return self.trigger.truth(shape)


def seen(images: Tensor, feature: str) -> Tensor:
    """Images (N,C,H,W) in [0,1] with the feature in full."""
    if feature == "blur":
        return blur(images, SIGMA)
    if feature == "vignette":
        down, right = (torch.linspace(-1, 1, side) for side in images.shape[2:])
        return images * (1 - CORNERS * (down[:, None] ** 2 + right**2) / 2)
    gain, lift = LIGHTS[feature]
    return gain * images + lift
