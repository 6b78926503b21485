"""CASSOCK (Wang et al. 2023; Isolate Trigger, V.E): a translucent trigger over the features of one source class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import Attack, Case


@dataclass(frozen=True, kw_only=True)
class Cassock(Attack):
    """`trigger` at `opacity` over images of `sources` sends them to `target`; by default a square on the object itself.

    As in CASSOCK's Trans the transparency of poisoned and of cover images differs: of the cover images of the other
    classes (`cover` times the poison rate), half carry the trigger at `opacity`, half at the stronger `cover_opacity`,
    so that neither leaks. The paper's Cont, a trigger cut from the target's own features, needs a trained network and
    is not done.

    Intensity scales the opacity, as that of `trigger` must, which can be any attack whose intensity is an opacity.
    """

    sources: tuple[int, ...]
    classes: int
    trigger: Attack = field(default=BadNets(size=6, corner="centre"))
    opacity: float = 0.5
    cover_opacity: float = 0.9
    cover: float = 2.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self.trigger.apply(images, intensity * self.opacity, rng)

    def apply_opaque(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """The trigger as half of the cover images carry it."""
        return self.trigger.apply(images, intensity * self.cover_opacity, rng)

    def cases(self) -> tuple[Case, ...]:
        others = tuple(label for label in range(self.classes) if label not in self.sources)
        attack = Case(self.apply, self.target, self.sources)
        covers = tuple(Case(how, None, others, self.cover / 2) for how in (self.apply, self.apply_opaque))
        return (attack, *covers) if self.cover else (attack,)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        arrays = self.trigger.truth(shape)
        return {name: array * self.opacity if name == "mask" else array for name, array in arrays.items()}
