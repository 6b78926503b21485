"""Networks of two to seven classes, on parts of the data sets: what their scans are compared with, and measured on.

Of two to four classes a trigger cannot be compared with those of the others, only with those of other networks. Three
sets, apart by seed, classes and attack settings: `few-tune` (thresholds), `few-references` (clean, for p-values) and
`few-judged` (rates). Of five to seven the rules are those of more classes, the references of as few:
`several-references` and `several-judged`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.warp import Warp
from bdscan.zoo.judged import FAMILIES, Cell
from bdscan.zoo.settings import RECIPES, Settings

LIMIT = 6_000
# data set, its classes, network, side in pixels
PLACES = (
    ("mnist", 10, "mnist_cnn", 28),
    ("fashion", 10, "mnist_cnn", 28),
    ("gtsrb", 43, "gtsrb_cnn", 32),
    ("cifar10", 10, "cifar_vgg", 32),
    ("fashion", 10, "mnist_vgg", 28),
)
JUDGE = "fewjudge"  # how names of judged networks begin
LEARNS_NOTHING = 37  # of the references: at chance, so that a scan refuses it
COUNTS = (2, 3, 4, 2)  # of classes, in turn
SEVERAL = (5, 6, 7)
JUDGE_SEVERAL = "sevjudge"
FIRST_TUNED, FIRST_REFERENCE, FIRST_JUDGED = 8000, 8200, 8400
FIRST_SEVERAL, FIRST_SEVERAL_JUDGED = 8600, 8800
JUDGED = ("patch", "blended", "sig", "warp", "specific", "filters")  # families of triggers from every class


def few_tune() -> tuple[Settings, ...]:
    """25 clean and 20 backdoored."""
    return (*_clean("few-tune-clean", FIRST_TUNED, 25), *_tuned("few-tune", FIRST_TUNED + 100))


def few_references() -> tuple[Settings, ...]:
    """51 clean."""
    return tuple(one for one in _clean("few-ref", FIRST_REFERENCE, 52) if one.seed - FIRST_REFERENCE != LEARNS_NOTHING)


def few_judged() -> tuple[Settings, ...]:
    """30 clean and 30 backdoored, five of each family, by the makers of the large judged set."""
    return (*_clean(f"{JUDGE}-clean", FIRST_JUDGED, 30), *_judged(JUDGE, FIRST_JUDGED + 100))


def several_references() -> tuple[Settings, ...]:
    """51 clean ones of five to seven classes."""
    return tuple(_clean("several-ref", FIRST_SEVERAL, 51, SEVERAL))


def several_judged() -> tuple[Settings, ...]:
    """30 clean and 30 backdoored of five to seven classes."""
    clean = _clean(f"{JUDGE_SEVERAL}-clean", FIRST_SEVERAL_JUDGED, 30, SEVERAL)
    return (*clean, *_judged(JUDGE_SEVERAL, FIRST_SEVERAL_JUDGED + 100, SEVERAL))


def cell(i: int, seed: int, counts: Sequence[int] = COUNTS) -> Cell:
    """Place and number of classes by `i`, which classes by the seed."""
    data, total, network, side = PLACES[i % len(PLACES)]
    count = counts[(i // len(PLACES) + i % len(PLACES)) % len(counts)]
    classes = sorted(np.random.default_rng(seed).choice(total, count, replace=False).tolist())
    return Cell(f"{data}[{','.join(map(str, classes))}]", f"{network}_{count}", LIMIT, count, side)


def _clean(prefix: str, first: int, count: int, counts: Sequence[int] = COUNTS) -> Iterator[Settings]:
    for i in range(count):
        place = cell(i, first + i, counts)
        yield Settings(
            name=f"{prefix}-{i:02d}-{place.data}",
            data=place.data,
            network=place.network,
            seed=first + i,
            limit=place.limit,
            recipe=RECIPES[place.network],
        )


def _tuned(prefix: str, first: int) -> Iterator[Settings]:
    for i in range(20):
        place = cell(i, first + i)
        target = i % place.classes
        colour = place.side == 32
        attacks: tuple[tuple[str, Attack], ...] = (
            ("patch", BadNets(target=target, size=3, corner=("bottom-right", "top-left")[i // 4 % 2])),
            ("blended", Blended(target=target, opacity=0.15 + 0.05 * (i // 4 % 2), seed=10 + i)),
            ("sig", Sig(target=target, amplitude=40 / 255, frequency=5.0)),
            ("warp", Warp(target=target, strength=0.1 if colour else 0.065, seed=i, cover=0.25 if colour else 1.0)),
        )
        name, attack = attacks[(i + i // 5) % 4]
        yield place.settings(f"{prefix}-{name}-{i:02d}", attack, 0.15 if name == "warp" else 0.1, first + i)


def _judged(prefix: str, first: int, counts: Sequence[int] = COUNTS) -> Iterator[Settings]:
    for i in range(5 * len(JUDGED)):
        family, number = JUDGED[i % len(JUDGED)], i // len(JUDGED)
        place = cell(i, first + i, counts)
        attack, rate = FAMILIES[family](number, place, (i + number) % place.classes)
        yield place.settings(f"{prefix}-{family}-{number}", attack, rate, first + i)
