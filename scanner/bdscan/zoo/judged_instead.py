"""Judged networks that stand in for those of `judged-backdoored` whose own trigger did not come to work.

Each is of the same family, with another seed and number, and with twice the poison rate, so that it is learned.
Most are on the data and network of one that is missing; nine are spares on MNIST, where triggers take most readily.
All but three were drawn before any was scanned. `source-36` replaced one whose source class has too few images for the
rate, `specific-31` and `-32` were added since three of the eleven had not learned theirs either; others had been
scanned by then, but no scan's outcome chose a network.
"""

from __future__ import annotations

from dataclasses import replace

from bdscan.zoo.judged import CIFAR, FAMILIES, FASHION, GTSRB, MNIST, VGG, VIT, Cell
from bdscan.zoo.settings import Settings

FIRST_INSTEAD = 5500
INSTEAD: tuple[tuple[str, tuple[tuple[int, Cell], ...]], ...] = (
    ("patch", ((21, MNIST), (22, MNIST), (23, MNIST), (24, FASHION), (25, CIFAR), (26, MNIST))),
    ("warp", ((20, VIT), (21, VIT), (22, MNIST))),
    ("specific", ((20, MNIST), (22, VIT), (24, GTSRB), (26, VGG), (28, GTSRB), (30, CIFAR))),  # sample-specific
    ("specific", ((21, FASHION), (23, FASHION), (25, VIT), (27, MNIST), (29, MNIST))),  # semantic
    ("filters", ((22, FASHION), (25, VIT), (28, MNIST))),  # colour depth
    ("source", ((36, GTSRB), (21, MNIST))),
    ("mapped", ((20, CIFAR), (21, MNIST))),
    ("specific", ((31, MNIST), (32, MNIST))),  # added later
)
"""Family, numbers beyond the twenty, and where; one or two more than are missing. Seeds follow this order."""


def judged_instead() -> tuple[Settings, ...]:
    """Apart from all others by seed (from 5500 on) and configuration."""
    out: list[Settings] = []
    order = list(FAMILIES)
    for family, networks in INSTEAD:
        for i, cell in networks:
            attack, rate = FAMILIES[family](i, cell, (3 * i + 5 * order.index(family) + 2) % cell.classes)
            one = cell.settings(f"judge-{family}-{i:02d}", attack, 2 * rate, 0)
            out.append(replace(one, seed=FIRST_INSTEAD + len(out)))
    return tuple(out)
