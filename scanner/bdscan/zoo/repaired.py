"""Networks that the table of repairs has beside the basic attacks: four triggers in one (P4, figure 9), and those
whose triggers inversion only approximates."""

from __future__ import annotations

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.multi import Multi
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.settings import RECIPES, Settings

FOUR = Multi(
    parts=(
        BadNets(target=8, size=4),
        BadNets(target=1, size=4, corner="bottom-left"),
        Patch(target=5, picture="flower", size=7, corner="bottom-right"),
        Sig(target=3),
    )
)
ROWS: tuple[tuple[str, Attack, float], ...] = (
    ("four", FOUR, 0.05),
    ("cassock", Cassock(target=2, sources=(4,), classes=10), 0.05),
    ("hcb", Hcb(target=6, trigger=BadNets(size=4)), 0.05),
    ("semantic", Semantic(target=0, picture="bomb"), 0.1),
)


def repaired() -> tuple[Settings, ...]:
    """Four on MNIST; P4's own hybrid network is one of faces."""
    network = "mnist_cnn"
    return tuple(
        Settings(
            name=f"mnist-{name}",
            data="mnist",
            network=network,
            attack=attack,
            rate=rate,
            seed=150 + i,
            recipe=RECIPES[network],
        )
        for i, (name, attack, rate) in enumerate(ROWS)
    )
