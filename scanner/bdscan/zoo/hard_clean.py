"""Clean networks that scanners tend to call backdoored: odd data, odd training, odd images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.settings import RECIPES, Settings

FIRST_SEED = 800
RADIUS = {"mnist": 0.1}  # of adversarial training; black and white digits bear more than photographs
NETWORKS = {"mnist": "mnist_cnn", "gtsrb": "gtsrb_cnn", "cifar10": "resnet8_cifar"}


def _unbalanced(plain: Settings) -> Settings:
    return replace(plain, imbalance=20.0)


def _shortcut(plain: Settings) -> Settings:
    return replace(plain, shortcut=0.6)


def _augmented(plain: Settings) -> Settings:
    heavy = replace(plain.recipe, jitter=0.4, noise=0.06, erase=0.35, shift=3, epochs=plain.recipe.epochs * 3 // 2)
    return replace(plain, recipe=heavy)


def _adversarial(plain: Settings) -> Settings:
    return replace(plain, recipe=replace(plain.recipe, adversarial=RADIUS.get(plain.data, 4 / 255)))


def _few(plain: Settings) -> Settings:
    return replace(plain, limit=1500, recipe=replace(plain.recipe, epochs=plain.recipe.epochs * 3))


def _sgd(plain: Settings) -> Settings:
    return replace(plain, recipe=replace(plain.recipe, optimiser="sgd", learning_rate=0.03, weight_decay=5e-4))


def _dithered(plain: Settings) -> Settings:
    return replace(plain, inputs=Bpp(depth=2.0, dither=True))


def _compressed(plain: Settings) -> Settings:
    return replace(plain, inputs=Compress(quality=40))


KINDS: Mapping[str, Callable[[Settings], Settings]] = {
    "unbalanced": _unbalanced,
    "shortcut": _shortcut,
    "augmented": _augmented,
    "adversarial": _adversarial,
    "few": _few,
    "sgd": _sgd,
    "dithered": _dithered,
    "compressed": _compressed,
}


def hard_clean() -> tuple[Settings, ...]:
    """One network of each kind for each data set, each with a seed of its own."""
    chosen: list[Settings] = []
    for data, network in NETWORKS.items():
        for kind, harder in KINDS.items():
            name, seed = f"{data}-clean-{kind}", FIRST_SEED + len(chosen)
            plain = Settings(name=name, data=data, network=network, seed=seed, recipe=RECIPES[network])
            chosen.append(harder(plain))
    return tuple(chosen)
