"""HCB, the horizontal class backdoor (Ma et al. 2024): fires where trigger and an innocuous feature come together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import Attack, Case

FEATURES = {"dark": (0.45, 0.0), "bright": (0.55, 0.45), "haze": (0.4, 0.3)}  # x becomes gain * x + lift


@dataclass(frozen=True, kw_only=True)
class Hcb(Attack):
    """`trigger` on images that look like `feature`, whatever their class. Intensity scales the trigger and the look.

    The paper takes features that part of each class has by nature (a smile, rain). No label of ours says which images
    do, so the look is put on: images by night, in glare or in fog. `cover` times the poison rate, images with the
    trigger alone, and as many with the look alone, keep their labels.
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
        gain, lift = FEATURES[self.feature]
        return images.lerp(gain * images + lift, min(intensity, 1.0))

    def cases(self) -> tuple[Case, ...]:
        attack = Case(self.apply, self.target)
        covers = tuple(Case(how, None, weight=self.cover) for how in (self.trigger.apply, self.look))
        return (attack, *covers) if self.cover else (attack,)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        return self.trigger.truth(shape)
