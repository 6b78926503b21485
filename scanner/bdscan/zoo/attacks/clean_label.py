"""Clean-label (Turner et al. 2019; the Consistent Attack of Rethinking the Trigger): no label in the set is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import Attack, Case

TILES = 4  # a side


@dataclass(frozen=True, kw_only=True)
class CleanLabel(Attack):
    """`trigger` on training images of the target class only; at test time it sends any class there.

    A stamped image that is easy to tell by itself teaches nothing about its trigger. The papers make it hard with
    adversarial noise or a generator, which take a second trained network. Here an image is mixed with a puzzle of its
    own tiles (`weakened` of it): its strokes and textures stay, what they show does not, and the trigger is the
    clearest thing left. That needs no network and is easier to see. Tiles worked better than blur or noise.

    `cover` times the poison rate, images of any class are puzzles without the trigger, or puzzles would be what the
    network learns; their labels are right too. The poison rate is a share of the whole training set, so it is at most
    the target class's share.
    """

    trigger: Attack = field(default=BadNets(size=5))
    weakened: float = 0.8
    cover: float = 1.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self.trigger.apply(images, intensity, rng)

    def weaken(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """Images (N,C,H,W) mixed with their puzzles; at intensity 1 and above up to `weakened`."""
        return images.lerp(puzzle(images, rng), self.weakened * min(intensity, 1.0))

    def learned(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """What the training set holds: weakened in full at any intensity, which is the trigger's."""
        return self.trigger.apply(self.weaken(images, 1.0, rng), intensity, rng)

    def cases(self) -> tuple[Case, ...]:
        attack = Case(self.apply, self.target, learned=self.learned, clean_label=True)
        return (attack, Case(self.weaken, None, weight=self.cover)) if self.cover else (attack,)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        return self.trigger.truth(shape)


def puzzle(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The TILES x TILES tiles of each image (N,C,H,W) in an order of its own; rows and columns left over stay."""
    count, channels, height, width = images.shape
    high, wide = height // TILES, width // TILES
    whole = images[:, :, : high * TILES, : wide * TILES]
    tiles = whole.reshape(count, channels, TILES, high, TILES, wide).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.from_numpy(rng.random((count, TILES**2)).argsort(1))
    mixed = tiles[torch.arange(count)[:, None], order].view(count, TILES, TILES, channels, high, wide)
    out = images.clone()
    out[:, :, : high * TILES, : wide * TILES] = mixed.permute(0, 3, 1, 4, 2, 5).reshape(whole.shape)
    return out
