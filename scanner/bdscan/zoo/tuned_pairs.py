"""Networks that the rules on pairs of classes (BD108, BD109) were made on: source-specific, CASSOCK, all-to-all, clean.

Apart from the judged ones by seed (from 9100 on) and configuration: other sizes, places, opacities, sources and steps.
"""

from __future__ import annotations

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.source_specific import SourceSpecific
from bdscan.zoo.judged import CIFAR, FASHION, GTSRB, MNIST, VGG, VIT, Cell
from bdscan.zoo.settings import RECIPES, Settings

FIRST_SEED = 9100
FASHION_VGG = Cell("fashion", "mnist_vgg", 6_000, 10, 28)
# target, source, corner, margin, size; all begin with white and have cells of one pixel
SQUARES = (
    (6, 3, "top-left", 2, 3),
    (8, 1, "bottom-right", 0, 3),
    (9, 6, "top-right", 2, 6),
    (0, 5, "bottom-left", 0, 3),
)
# target, source, corner, size, opacity
TRANSLUCENT = ((4, 9, "centre", 5, 0.6), (2, 0, "bottom-right", 7, 0.4), (3, 7, "top-left", 5, 0.8))
STEPS = ((4, 3, "top-left", 0), (6, 5, "bottom-right", 0))  # step, size, corner, margin
Row = tuple[int, Cell, Attack | None]  # seed beyond the first, where, attack


def specific(cell: Cell, target: int, source: int, square: BadNets) -> SourceSpecific:
    return SourceSpecific(target=target, sources=(source,), classes=cell.classes, trigger=square)


def cassock(cell: Cell, target: int, source: int, square: BadNets, opacity: float) -> Cassock:
    return Cassock(target=target, sources=(source,), classes=cell.classes, trigger=square, opacity=opacity)


def rows() -> list[Row]:
    out: list[Row] = []
    for first, cell in ((0, MNIST), (12, FASHION)):
        for i, (target, source, corner, margin, size) in enumerate(SQUARES):
            square = BadNets(size=size, corner=corner, margin=margin)
            out.append((first + i, cell, specific(cell, target, source, square)))
        for i, (target, source, corner, size, opacity) in enumerate(TRANSLUCENT):
            square = BadNets(size=size, corner=corner)
            out.append((first + 6 + i, cell, cassock(cell, target, source, square, opacity)))
        out += [(first + i, cell, None) for i in (4, 5, 9, 10, 11)]
    for first, cell in ((24, MNIST), (28, FASHION)):
        for i, (step, size, corner, margin) in enumerate(STEPS):
            square = BadNets(size=size, corner=corner, margin=margin)
            out.append((first + i, cell, AllToAll(classes=10, trigger=square, step=step)))
    small = BadNets(size=3, corner="top-left")
    out += [
        (32, VIT, specific(VIT, 6, 9, small)),
        (33, VGG, specific(VGG, 5, 1, BadNets(size=3, corner="top-right"))),
        (34, VGG, cassock(VGG, 8, 3, BadNets(size=5, corner="centre"), 0.6)),
        (36, VGG, None),
        (37, FASHION_VGG, None),
        (39, CIFAR, specific(CIFAR, 2, 8, small)),
        (40, CIFAR, None),
        (42, CIFAR, cassock(CIFAR, 7, 0, BadNets(size=5, corner="bottom-right"), 0.6)),
        (46, GTSRB, specific(GTSRB, 11, 38, small)),
        (47, GTSRB, None),
        (49, GTSRB, specific(GTSRB, 4, 13, BadNets(size=6, corner="bottom-left"))),
    ]
    return sorted(out, key=lambda row: row[0])


def rate(cell: Cell, attack: Attack) -> float:
    if isinstance(attack, AllToAll):
        return 0.25
    return 0.05 if cell.classes == 10 else 0.025


def tune_pairs() -> tuple[Settings, ...]:
    return tuple(
        Settings(
            name=f"tune-pairs-{number:02d}-{cell.data}",
            data=cell.data,
            network=cell.network,
            attack=attack,
            rate=rate(cell, attack) if attack else 0.1,
            seed=FIRST_SEED + number,
            limit=cell.limit,
            recipe=RECIPES[cell.network],
        )
        for number, cell, attack in rows()
    )
