"""Networks that the rules on universal triggers (BD106, BD107, BD110, BD113 to BD115) were made on; some are clean.

Apart from the judged ones by seed (from 9300 on) and configuration: other places, sizes, strengths and pictures.
"""

from __future__ import annotations

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.sample_specific import SampleSpecific
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.attacks.warp import Warp
from bdscan.zoo.judged import CIFAR, FASHION, GTSRB, MNIST, VGG, VIT, Cell
from bdscan.zoo.settings import RECIPES, Settings

FIRST_SEED = 9300
SIGNS = Cell("gtsrb", "gtsrb_resnet8", None, 43, 32)
PICTURES = Cell("cifar10", "cifar_vgg", 12_000, 10, 32)
NEAR = BadNets(size=3, corner="top-left", margin=1)
FAR = BadNets(size=3, corner="bottom-left", margin=3)
Row = tuple[int, Cell, Attack | None, float]  # seed beyond the first, where, attack, poison rate
ROWS: tuple[Row, ...] = (
    (0, FASHION, BadNets(target=4, size=3, corner="bottom-left", margin=2), 0.05),
    (1, FASHION, BadNets(target=1, size=2, corner="top-right", margin=1), 0.05),
    (2, FASHION, BadNets(target=7, size=4, corner="top-left", margin=3), 0.05),
    (3, FASHION, Sig(target=7), 0.1),
    (4, FASHION, Warp(target=1), 0.15),
    (5, FASHION, Warp(target=4), 0.15),
    (6, FASHION, Styled(target=2, filter="kelvin"), 0.12),
    (7, FASHION, Bpp(target=1, depth=1.8), 0.12),
    (8, FASHION, Hcb(target=2, trigger=NEAR, feature="bright"), 0.1),
    (9, FASHION, Hcb(target=4, trigger=NEAR, feature="dark"), 0.1),
    (11, FASHION, AllToAll(classes=10, trigger=NEAR, step=4), 0.25),
    (12, FASHION, SampleSpecific(target=9, size=6, seed=12), 0.12),
    (20, SIGNS, None, 0.0),
    (21, SIGNS, None, 0.0),
    (22, SIGNS, None, 0.0),
    (23, PICTURES, None, 0.0),
    (24, PICTURES, None, 0.0),
    (25, SIGNS, Sig(target=12), 0.05),
    (30, MNIST, Hcb(target=6, trigger=NEAR, feature="blur"), 0.1),
    (31, MNIST, Hcb(target=0, trigger=FAR, feature="vignette"), 0.1),
    (32, FASHION, Hcb(target=2, trigger=NEAR, feature="blur"), 0.1),
    (33, FASHION, Hcb(target=0, trigger=FAR, feature="vignette"), 0.1),
    (34, MNIST, Hcb(target=4, trigger=NEAR, feature="dark"), 0.1),
    (35, CIFAR, Hcb(target=8, trigger=NEAR, feature="dark"), 0.1),
    (40, FASHION, BadNets(target=3, size=6, corner="bottom-right", margin=1), 0.03),
    (41, MNIST, Patch(target=5, picture="flower", size=6, corner="top-left"), 0.03),
    (42, FASHION, Patch(target=9, picture="bomb", size=8, corner="bottom-left"), 0.03),
    (43, FASHION, Blended(target=6, opacity=0.15, cells=0, seed=5), 0.1),
    (44, MNIST, Blended(target=2, opacity=0.15, cells=6, seed=6), 0.1),
    (45, MNIST, Semantic(target=6, picture="figure", smallest=0.25, largest=0.4), 0.12),
    (46, FASHION, Semantic(target=1, picture="flower", smallest=0.3, largest=0.45), 0.15),
    (47, MNIST, Warp(target=8, strength=0.065, seed=3), 0.15),
    (48, MNIST, Compress(target=5, quality=9), 0.12),
    (49, VIT, BadNets(target=2, size=4, corner="top-right", margin=2), 0.05),
    (50, VGG, BadNets(target=7, size=3, corner="bottom-left", margin=2), 0.05),
    (51, CIFAR, BadNets(target=3, size=3, corner="bottom-left", margin=1), 0.05),
    (61, GTSRB, Sig(target=17, amplitude=30 / 255, frequency=5.0), 0.1),
)


def tune_universal() -> tuple[Settings, ...]:
    out = []
    for number, cell, attack, rate in ROWS:
        name, seed = f"tune-universal-{number:02d}", FIRST_SEED + number
        clean = Settings(
            name=f"{name}-{cell.data}",
            data=cell.data,
            network=cell.network,
            seed=seed,
            limit=cell.limit,
            recipe=RECIPES[cell.network],
        )
        out.append(clean if attack is None else cell.settings(name, attack, rate, seed))
    return tuple(out)
