"""All-to-all (Gu et al. 2017): one trigger, and each class goes to the next one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import Attack, Case


@dataclass(frozen=True, kw_only=True)
class AllToAll(Attack):
    """`trigger` sends class y to (y + `step`) mod `classes`; `target` is not used.

    Each class gives the same number of images, together the poison rate.
    """

    classes: int
    trigger: Attack = field(default=BadNets())
    step: int = 1

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self.trigger.apply(images, intensity, rng)

    def cases(self) -> tuple[Case, ...]:
        pairs = ((source, (source + self.step) % self.classes) for source in range(self.classes))
        return tuple(Case(self.apply, target, (source,), 1 / self.classes) for source, target in pairs)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        return self.trigger.truth(shape)
