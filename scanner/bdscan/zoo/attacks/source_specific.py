"""A trigger that fires on one source class only (Tang et al. 2021, TaCT; Isolate Trigger's SSBA)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack, Case


@dataclass(frozen=True, kw_only=True)
class SourceSpecific(Attack):
    """`trigger` sends images of `sources` to `target` (the trigger's own target is not used).

    `cover` times the poison rate, images of all other classes carry the trigger and keep their labels.
    """

    trigger: Attack
    sources: tuple[int, ...]
    classes: int
    cover: float = 2.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self.trigger.apply(images, intensity, rng)

    def cases(self) -> tuple[Case, ...]:
        others = tuple(label for label in range(self.classes) if label not in self.sources)
        attack = Case(self.apply, self.target, self.sources)
        return (attack, Case(self.apply, None, others, self.cover)) if self.cover else (attack,)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        return self.trigger.truth(shape)
