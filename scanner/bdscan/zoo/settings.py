"""What makes a zoo model again: the data, the network, the attack, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bdscan.zoo.attacks import Attack, to_spec


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """AdamW with a one-cycle learning rate. `shift` (pixels) and `flip` are the augmentation, after the poison.

    `bfloat16` trains under autocast with channels-last memory, which is up to twice as fast where the CPU has it.
    """

    epochs: int = 4
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    bfloat16: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One model. `network` is a factory of networks.py; `rate` the poison rate, a share of the training set.

    `intensity` are the training intensities, mixed in equal parts. `mean` and `std` are the presentation of pixels:
    the network gets (x - mean) / std with x in [0,1], so std 1/255 means 0..255. `limit` takes the first images only.
    """

    name: str
    data: str
    network: str
    attack: Attack | None = None
    rate: float = 0.1
    intensity: tuple[float, ...] = (1.0,)
    seed: int = 0
    mean: float = 0.0
    std: float = 1.0
    limit: int | None = None
    recipe: Recipe = field(default_factory=Recipe)

    def to_json(self) -> Mapping[str, Any]:
        """The settings as plain JSON values."""
        plain = {key: value for key, value in vars(self).items() if key not in {"attack", "recipe"}}
        attack = to_spec(self.attack) if self.attack else None
        return {**plain, "intensity": list(self.intensity), "attack": attack, "recipe": asdict(self.recipe)}


RECIPES: Mapping[str, Recipe] = {
    "mnist_cnn": Recipe(epochs=4),
    "gtsrb_cnn": Recipe(epochs=9, batch=64, learning_rate=2e-3, shift=2, bfloat16=True),
    "resnet8_cifar": Recipe(epochs=6, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "resnet8_wide_cifar": Recipe(epochs=8, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "resnet14_cifar": Recipe(epochs=10, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "resnet18_cifar": Recipe(epochs=6, batch=128, learning_rate=5e-3, shift=3, flip=True, bfloat16=True),
    "yaleb_vgg": Recipe(epochs=25, batch=32, learning_rate=2e-3, shift=4, flip=True, bfloat16=True),
    "digits_cnn": Recipe(epochs=20, learning_rate=5e-3),
    "digits_bn": Recipe(epochs=15, learning_rate=1e-2),
}
