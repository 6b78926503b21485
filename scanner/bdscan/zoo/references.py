"""Clean networks that a scan is calibrated on: data sets, architectures, recipes and seeds of their own.

Small training sets and few epochs keep each to seconds or a few minutes of one core; some are weak for it, as users'
models are. Seeds from 2000 on: neither the tuning set (50, 500) nor the judged one (0, 100, 4000) has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bdscan.zoo.hard_clean import KINDS
from bdscan.zoo.settings import RECIPES, Settings

FIRST_SEED = 2000
# data set, network, training images (None: all), how many plain ones, kinds of hard ones
Series = tuple[str, str, int | None, int, tuple[str, ...]]
ALL = tuple(KINDS)
SERIES: tuple[Series, ...] = (
    ("mnist", "mnist_cnn", 15_000, 10, ALL),
    ("mnist", "mnist_vgg", 5_000, 4, ()),
    ("mnist", "mnist_mobile", 5_000, 3, ()),
    ("mnist", "mnist_vit", 12_000, 5, ()),
    ("fashion", "mnist_cnn", 15_000, 10, ALL),
    ("fashion", "mnist_vgg", 5_000, 4, ()),
    ("fashion", "mnist_mobile", 5_000, 3, ()),
    ("fashion", "mnist_vit", 12_000, 5, ()),
    ("digits", "digits_cnn", None, 7, ("unbalanced", "sgd")),
    ("digits", "digits_bn", None, 7, ("unbalanced", "sgd")),
    ("gtsrb", "gtsrb_cnn", None, 4, ("unbalanced", "augmented", "compressed")),
    ("gtsrb", "gtsrb_resnet8", None, 3, ("sgd",)),
    ("cifar10", "resnet8_cifar", 20_000, 4, ("shortcut", "augmented", "adversarial")),
    ("cifar10", "cifar_vgg", 10_000, 2, ()),
    ("cifar10", "cifar_mobile", 10_000, 2, ()),
    ("yaleb", "yaleb_vgg", None, 1, ()),
)
ADVERSARIAL: Mapping[str, float] = {"mnist": 0.1, "fashion": 0.05}  # radius; grey images bear more than photographs


def references() -> tuple[Settings, ...]:
    """Every model has a seed of its own."""
    return tuple(clean_series("ref", FIRST_SEED, SERIES))


def clean_series(prefix: str, first_seed: int, series: tuple[Series, ...]) -> Iterator[Settings]:
    seed = first_seed
    for data, network, limit, plain, kinds in series:
        for name in (*(str(i) for i in range(plain)), *kinds):
            one = Settings(
                name=f"{prefix}-{data}-{network}-{name}",
                data=data,
                network=network,
                seed=seed,
                limit=limit,
                recipe=RECIPES[network],
            )
            yield _harder(name, one) if name in KINDS else one
            seed += 1


def _harder(kind: str, plain: Settings) -> Settings:
    change: Callable[[Settings], Settings] = KINDS[kind]
    hard = change(plain)
    if kind == "adversarial" and plain.data in ADVERSARIAL:
        return replace(hard, recipe=replace(hard.recipe, adversarial=ADVERSARIAL[plain.data]))
    return hard
