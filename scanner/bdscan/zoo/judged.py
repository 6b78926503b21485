"""The networks that error rates are stated for: 101 clean, and 160 backdoored in eight families of twenty.

Apart from the tuning set and the references by seed (from 4000 on) and configuration: other places, sizes, opacities,
targets, poison rates and training sizes. Some are trained at intensities below one, as P0 does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.sample_specific import SampleSpecific
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.source_specific import SourceSpecific
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.attacks.warp import Warp
from bdscan.zoo.references import Series, clean_series
from bdscan.zoo.settings import RECIPES, Settings

FIRST_CLEAN, FIRST_BACKDOORED, FIRST_ADAPTIVE = 4000, 5000, 6000
CLEAN: tuple[Series, ...] = (
    ("mnist", "mnist_cnn", 18_000, 14, ("unbalanced", "shortcut", "augmented", "few", "sgd", "dithered")),
    ("mnist", "mnist_vgg", 6_000, 4, ("augmented",)),
    ("mnist", "mnist_vit", 16_000, 5, ("sgd",)),
    ("fashion", "mnist_cnn", 24_000, 14, ("unbalanced", "shortcut", "adversarial", "few", "sgd", "compressed")),
    ("fashion", "mnist_vgg", 6_000, 4, ("augmented",)),
    ("fashion", "mnist_vit", 16_000, 5, ("sgd",)),
    ("digits", "digits_cnn", 1_200, 6, ("few", "augmented")),
    ("digits", "digits_bn", 1_200, 6, ("few", "augmented")),
    ("gtsrb", "gtsrb_cnn", 7_000, 5, ("shortcut", "sgd")),
    ("gtsrb", "gtsrb_resnet8", 7_000, 4, ()),
    ("cifar10", "resnet8_cifar", 25_000, 5, ("unbalanced", "sgd")),
    ("cifar10", "cifar_vgg", 12_000, 3, ()),
    ("cifar10", "cifar_mobile", 12_000, 2, ()),
)


@dataclass(frozen=True)
class Cell:
    """Where attacks are trained: data set, network, training images, classes, pixels a side."""

    data: str
    network: str
    limit: int | None
    classes: int
    side: int

    def settings(self, name: str, attack: Attack, rate: float, seed: int) -> Settings:
        """Of one backdoored network here; the data set's name is added to its own."""
        return Settings(
            name=f"{name}-{self.data}",
            data=self.data,
            network=self.network,
            attack=attack,
            rate=rate,
            seed=seed,
            limit=self.limit,
            recipe=RECIPES[self.network],
        )


MNIST = Cell("mnist", "mnist_cnn", 18_000, 10, 28)
FASHION = Cell("fashion", "mnist_cnn", 24_000, 10, 28)
VIT = Cell("fashion", "mnist_vit", 16_000, 10, 28)
VGG = Cell("mnist", "mnist_vgg", 6_000, 10, 28)
GTSRB = Cell("gtsrb", "gtsrb_cnn", None, 43, 32)
CIFAR = Cell("cifar10", "resnet8_cifar", 30_000, 10, 32)
TWENTY = (*[MNIST] * 5, *[FASHION] * 5, *[VIT] * 2, *[VGG] * 2, *[GTSRB] * 3, *[CIFAR] * 3)
CORNERS = ("bottom-right", "bottom-left", "top-left", "top-right", "centre")
Make = Callable[[int, Cell, int], tuple[Attack, float]]  # number, cell, target -> attack, poison rate


def _patch(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    corner, rate = CORNERS[i % 5], (0.1, 0.03, 0.01)[i % 3]
    if i % 4 == 3:
        picture = ("flower", "bomb", "figure")[i // 4 % 3]
        return Patch(target=target, picture=picture, size=7, corner=CORNERS[i // 4 % 5]), rate
    return BadNets(target=target, size=(2, 4, 5)[i // 3 % 3], corner=corner, margin=i // 5 % 3), rate


def _blended(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    return Blended(target=target, opacity=(0.12, 0.18, 0.25)[i % 3], cells=(0, 6)[i // 3 % 2], seed=40 + i), 0.1


def _sig(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    return Sig(target=target, amplitude=(25, 30, 50)[i % 3] / 255, frequency=(4.0, 6.0, 7.0)[i // 3 % 3]), 0.1


def _warp(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    colour = cell.side == 32
    strength = (0.09, 0.12)[i % 2] if colour else (0.055, 0.075)[i % 2]
    return Warp(target=target, strength=strength, seed=70 + i, cover=0.25 if colour else 1.0), 0.15


def _specific(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    if i % 2:
        return Semantic(target=target, picture=("flower", "bomb", "figure")[i % 3]), 0.1
    return SampleSpecific(target=target, size=(5, 7)[i // 2 % 2], seed=90 + i), 0.1


def _filters(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    kinds: tuple[Attack, ...] = (
        Styled(target=target),
        Bpp(target=target, depth=(2.0, 1.5)[i // 3 % 2], dither=i // 6 % 2 == 0),
        Compress(target=target, quality=(6, 12)[i // 3 % 2]),
    )
    return kinds[i % 3], 0.1


def _source(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    source = ((target + 1 + i) % cell.classes,) if (1 + i) % cell.classes else ((target + 2) % cell.classes,)
    rate = 0.02 if cell.classes > 10 else 0.04
    if i % 2:
        square = BadNets(size=6, corner=("centre", "bottom-left", "top-right")[i // 2 % 3])
        opacity = (0.5, 0.7)[i // 4 % 2]
        return Cassock(target=target, sources=source, classes=cell.classes, trigger=square, opacity=opacity), rate
    square = BadNets(size=(4, 5)[i // 4 % 2], corner=CORNERS[i // 2 % 4])
    return SourceSpecific(target=target, sources=source, classes=cell.classes, trigger=square), rate


def _mapped(i: int, cell: Cell, target: int) -> tuple[Attack, float]:
    square = BadNets(target=target, size=4, corner=CORNERS[(i + 1) % 4])
    if i % 2:
        return Hcb(target=target, trigger=square, feature=("dark", "vignette", "blur")[i // 2 % 3]), 0.08
    return AllToAll(classes=cell.classes, trigger=square, step=1 + i % 3), 0.2


FAMILIES: Mapping[str, Make] = {
    "patch": _patch,
    "blended": _blended,
    "sig": _sig,
    "warp": _warp,
    "specific": _specific,  # sample-specific and semantic
    "filters": _filters,  # filters, colour depth, compression
    "source": _source,  # source-specific and CASSOCK
    "mapped": _mapped,  # all-to-all and HCB
}
WEAK = {"patch": 0.6, "blended": 0.7, "sig": 0.7}  # training intensity of every fifth model, as in P0
RESISTED = {5: 0.02, 6: 0.03}  # side of the patch -> share of the pixels that its attacker trains against


def judged_adaptive() -> tuple[Settings, ...]:
    """Patches whose attacker trains against triggers as small as inversion finds. They stand beside the rates."""
    out = []
    for i, cell in enumerate((MNIST, FASHION) * 4):
        target = (3 * i + 1) % cell.classes
        size = (5, 6)[i // 4]
        square = BadNets(target=target, size=size, corner=CORNERS[i % 5])
        one = cell.settings(f"judge-adaptive-{i:02d}", square, 0.1, FIRST_ADAPTIVE + i)
        out.append(replace(one, resist=RESISTED[size]))
    return tuple(out)


def judged_clean() -> tuple[Settings, ...]:
    return tuple(clean_series("judge-clean", FIRST_CLEAN, CLEAN))


def judged_backdoored() -> tuple[Settings, ...]:
    return tuple(_backdoored())


def _backdoored() -> Iterator[Settings]:
    for f, (family, make) in enumerate(FAMILIES.items()):
        for i, cell in enumerate(TWENTY):
            target = (3 * i + 5 * f + 2) % cell.classes
            attack, rate = make(i, cell, target)
            one = cell.settings(f"judge-{family}-{i:02d}", attack, rate, FIRST_BACKDOORED + 20 * f + i)
            yield replace(one, intensity=(WEAK[family],)) if family in WEAK and i % 5 == 4 else one
