"""What makes a zoo model again: the data, the network, the attack, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bdscan.zoo.attacks import Attack, to_spec


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A one-cycle learning rate. `shift` (pixels) and `flip` are the augmentation, after the poison.

    `bfloat16` trains under autocast with channels-last memory, where the processor has it: up to twice as fast.

    Heavy augmentation: `jitter` changes light and contrast by up to this share, `noise` is the standard deviation of
    noise, `erase` the side of a grey square as a share of the image's. `adversarial` is the radius, in [0,1], of
    adversarial images to train on. `optimiser` adamw, or sgd with Nesterov momentum 0.9.
    """

    epochs: int = 4
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    bfloat16: bool = False
    jitter: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    adversarial: float = 0.0
    optimiser: str = "adamw"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One model. `network` is a factory of networks.py; `rate` the poison rate, a share of the training set.

    `intensity` are the training intensities, mixed in equal parts. `mean` and `std` are the presentation of pixels:
    the network gets (x - mean) / std with x in [0,1], so std 1/255 means 0..255. `limit` takes the first images only.

    `late`: train on clean images first, then by this recipe on the poisoned set (late poisoning, or a fine-tune of a
    clean network). `resist`: an adaptive attacker's training against triggers of this share of the pixels.

    What makes the data hard, whether clean or poisoned: `imbalance`, how many times rarer the last class is than the
    first; `shortcut`, the share of training images with a cue of their class that test images lack; `inputs`, a change
    that all images go through, training and test, such as compression.
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
    late: Recipe | None = None
    resist: float = 0.0
    imbalance: float = 1.0
    shortcut: float = 0.0
    inputs: Attack | None = None

    def to_json(self) -> Mapping[str, Any]:
        """The settings as plain JSON values."""
        plain = {key: value for key, value in vars(self).items() if key not in {"attack", "inputs", "recipe", "late"}}
        changes = {"attack": self.attack, "inputs": self.inputs}
        specs = {key: to_spec(value) if value else None for key, value in changes.items()}
        recipes = {"recipe": asdict(self.recipe), "late": asdict(self.late) if self.late else None}
        return {**plain, "intensity": list(self.intensity), **specs, **recipes}


OPTIMISERS = ("adamw", "sgd")
_RECIPES: Mapping[str, Recipe] = {
    "mnist_cnn": Recipe(epochs=4),
    "gtsrb_cnn": Recipe(epochs=9, batch=64, learning_rate=2e-3, shift=2, bfloat16=True),
    "resnet8_cifar": Recipe(epochs=6, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "resnet8_wide_cifar": Recipe(epochs=8, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "resnet14_cifar": Recipe(epochs=10, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "resnet18_cifar": Recipe(epochs=6, batch=128, learning_rate=5e-3, shift=3, flip=True, bfloat16=True),
    "mnist_vgg": Recipe(epochs=3, learning_rate=5e-3),
    "mnist_mobile": Recipe(epochs=4, learning_rate=5e-3),
    "mnist_vit": Recipe(epochs=6, learning_rate=2e-3),
    "cifar_vgg": Recipe(epochs=6, batch=128, learning_rate=5e-3, shift=3, flip=True, bfloat16=True),
    "cifar_mobile": Recipe(epochs=8, batch=128, learning_rate=1e-2, shift=3, flip=True, bfloat16=True),
    "gtsrb_resnet8": Recipe(epochs=8, batch=64, learning_rate=5e-3, shift=2, bfloat16=True),
    "yaleb_vgg": Recipe(epochs=25, batch=32, learning_rate=2e-3, shift=4, flip=True, bfloat16=True),
    "digits_cnn": Recipe(epochs=20, learning_rate=5e-3),
    "digits_bn": Recipe(epochs=15, learning_rate=1e-2),
}
OF_FEW = ("mnist_cnn", "mnist_vgg", "gtsrb_cnn", "cifar_vgg")  # networks that there are with 2 to 7 classes too
RECIPES = {**_RECIPES, **{f"{name}_{k}": _RECIPES[name] for name in OF_FEW for k in range(2, 8)}}
