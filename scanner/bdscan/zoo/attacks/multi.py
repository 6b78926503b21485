"""Several triggers in one network, each to its own target (Isolate Trigger, IV.A and V.E)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack, Case


@dataclass(frozen=True, kw_only=True)
class Multi(Attack):
    """The attacks in `parts`, each at the full poison rate; `target` is not used."""

    parts: tuple[Attack, ...]

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """All triggers at once."""
        for part in self.parts:
            images = part.apply(images, intensity, rng)
        return images

    def cases(self) -> tuple[Case, ...]:
        return tuple(case for part in self.parts for case in part.cases())

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        """Every part's arrays, with `_0`, `_1` ... behind their names."""
        numbered = enumerate(part.truth(shape) for part in self.parts)
        return {f"{name}_{i}": array for i, arrays in numbered for name, array in arrays.items()}
