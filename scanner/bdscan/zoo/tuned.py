"""Networks of the four families beyond the basic attacks, to improve detectors on: four or five of each.

Apart from the judged ones by seed (from 3000 on) and configuration: other filters, depths, qualities, sizes, opacities,
steps and looks.
"""

from __future__ import annotations

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.sample_specific import SampleSpecific
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.source_specific import SourceSpecific
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.judged import CIFAR, FASHION, GTSRB, MNIST, VIT, Cell
from bdscan.zoo.settings import Settings

FIRST_SEED = 3000
SQUARE = BadNets(size=3, corner="top-left", margin=1)
HALF = BadNets(size=5, corner="centre")
Row = tuple[str, Cell, Attack, float]  # family, where, attack, poison rate
ROWS: tuple[Row, ...] = (
    ("specific", MNIST, SampleSpecific(target=4, size=6, seed=11), 0.12),
    ("specific", FASHION, SampleSpecific(target=9, size=6, seed=12), 0.12),
    ("specific", MNIST, Semantic(target=6, picture="figure", smallest=0.25, largest=0.4), 0.12),
    ("specific", FASHION, Semantic(target=1, picture="flower", smallest=0.25, largest=0.4), 0.12),
    ("specific", CIFAR, Semantic(target=7, picture="bomb", smallest=0.25, largest=0.4), 0.12),
    ("filters", FASHION, Styled(target=2, filter="kelvin"), 0.12),
    ("filters", CIFAR, Styled(target=4, filter="lomo"), 0.12),
    ("filters", FASHION, Bpp(target=8, depth=1.8), 0.12),
    ("filters", MNIST, Compress(target=5, quality=9), 0.12),
    ("filters", FASHION, Compress(target=0, quality=9), 0.12),
    ("source", FASHION, Cassock(target=5, sources=(2,), classes=10, trigger=HALF, opacity=0.6), 0.05),
    ("source", MNIST, Cassock(target=1, sources=(8,), classes=10, trigger=HALF, opacity=0.6), 0.05),
    ("source", VIT, SourceSpecific(target=6, sources=(9,), classes=10, trigger=SQUARE), 0.05),
    ("source", GTSRB, SourceSpecific(target=5, sources=(2,), classes=43, trigger=SQUARE), 0.025),
    ("mapped", MNIST, AllToAll(classes=10, trigger=SQUARE, step=4), 0.25),
    ("mapped", FASHION, AllToAll(classes=10, trigger=SQUARE, step=4), 0.25),
    ("mapped", MNIST, Hcb(target=3, trigger=SQUARE, feature="haze"), 0.1),
    ("mapped", FASHION, Hcb(target=7, trigger=SQUARE, feature="bright"), 0.1),
    ("mapped", CIFAR, Hcb(target=1, trigger=SQUARE, feature="bright"), 0.1),
)


def tune_families() -> tuple[Settings, ...]:
    return tuple(
        cell.settings(f"tune-{family}-{i:02d}", attack, rate, FIRST_SEED + i)
        for i, (family, cell, attack, rate) in enumerate(ROWS)
    )
