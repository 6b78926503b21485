"""Judged networks of attacks that no family of twenty has: they stand beside the rates, five of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.clean_label import CleanLabel
from bdscan.zoo.attacks.multi import Multi
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.judged import CIFAR, CORNERS, FASHION, GTSRB, MNIST, VGG, Cell
from bdscan.zoo.settings import RECIPES, Settings

FIRST_FURTHER = 7000
FIVE = (MNIST, FASHION, VGG, GTSRB, CIFAR)
OF_TEN = (MNIST, FASHION, VGG, MNIST, FASHION)  # of 43 signs none is common enough for a clean-label attack
Make = Callable[[int, Cell, int], Settings]  # number, cell, target -> all but name and seed


def _clean_label(i: int, cell: Cell, target: int) -> Settings:
    square = BadNets(size=(4, 6)[i % 2], corner=CORNERS[i % 4])
    return cell.settings("", CleanLabel(target=target, trigger=square), 0.08, 0)


def _late(i: int, cell: Cell, target: int) -> Settings:
    """A clean network that is fine-tuned on a poisoned set, for a third of the epochs at a third of the rate."""
    kinds = (
        BadNets(target=target, size=4, corner=CORNERS[i % 4]),
        Blended(target=target, opacity=0.2, seed=140 + i),
        Sig(target=target, amplitude=40 / 255),
    )
    usual = RECIPES[cell.network]
    late = replace(usual, epochs=max(1, usual.epochs // 3), learning_rate=usual.learning_rate / 3)
    return replace(cell.settings("", kinds[i % 3], 0.1, 0), late=late)


def _rare(i: int, cell: Cell, target: int) -> Settings:
    """Half a percent of the training images is poisoned."""
    return cell.settings("", BadNets(target=target, size=(4, 5)[i % 2], corner=CORNERS[i]), 0.005, 0)


def _mixed(i: int, cell: Cell, target: int) -> Settings:
    """CASSOCK and a second attack in one network (P4, V.E)."""
    other, source = (target + 3) % cell.classes, (target + 5) % cell.classes
    translucent = Cassock(
        target=target, sources=(source,), classes=cell.classes, trigger=BadNets(size=6, corner="centre"), opacity=0.6
    )
    kinds = (BadNets(target=other, size=4, corner=CORNERS[i % 4]), Sig(target=other, amplitude=35 / 255))
    return cell.settings("", Multi(parts=(translucent, kinds[i % 2])), 0.01 if cell.classes > 10 else 0.04, 0)


KINDS: Mapping[str, tuple[Make, tuple[Cell, ...]]] = {
    "cleanlabel": (_clean_label, OF_TEN),
    "late": (_late, FIVE),
    "rare": (_rare, FIVE),
    "mixed": (_mixed, FIVE),
}


def judged_further() -> tuple[Settings, ...]:
    """Apart from all others by seed (from 7000 on) and configuration."""
    out = []
    for k, (kind, (make, cells)) in enumerate(KINDS.items()):
        for i, cell in enumerate(cells):
            one = make(i, cell, (3 * i + 2 * k + 1) % cell.classes)
            out.append(replace(one, name=f"judge-{kind}-{i:02d}-{cell.data}", seed=FIRST_FURTHER + 5 * k + i))
    return tuple(out)
