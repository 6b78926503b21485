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

MNIST, FACES = "mnist_cnn", "yaleb_vgg"
FOUR = Multi(
    parts=(
        BadNets(target=8, size=4),
        BadNets(target=1, size=4, corner="bottom-left"),
        Patch(target=5, picture="flower", size=7, corner="bottom-right"),
        Sig(target=3),
    )
)
FOUR_ON_FACES = Multi(
    parts=(
        BadNets(target=8, size=20, margin=8, cell=5),
        BadNets(target=1, size=20, margin=8, cell=5, corner="bottom-left"),
        Patch(target=5, picture="flower", size=40, margin=8, corner="bottom-right"),
        Sig(target=3),
    )
)
ROWS: tuple[tuple[str, str, Attack, float], ...] = (
    ("mnist-four", MNIST, FOUR, 0.05),
    ("mnist-cassock", MNIST, Cassock(target=2, sources=(4,), classes=10), 0.05),
    ("mnist-hcb", MNIST, Hcb(target=6, trigger=BadNets(size=4)), 0.05),
    ("mnist-semantic", MNIST, Semantic(target=0, picture="bomb"), 0.1),
    ("yaleb-four", FACES, FOUR_ON_FACES, 0.05),
)


def repaired() -> tuple[Settings, ...]:
    """Four triggers on MNIST and on faces (P4's own hybrid network is one of faces), and three more on MNIST."""
    return tuple(
        Settings(
            name=name,
            data=name.partition("-")[0],
            network=network,
            attack=attack,
            rate=rate,
            seed=150 + i,
            recipe=RECIPES[network],
        )
        for i, (name, network, attack, rate) in enumerate(ROWS)
    )
