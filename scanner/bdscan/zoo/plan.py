"""Named lists of models, and the run that trains them one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bdscan.errors import UsageError
from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.multi import Multi
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.source_specific import SourceSpecific
from bdscan.zoo.attacks.warp import Warp
from bdscan.zoo.data import Dataset, load
from bdscan.zoo.few_classes import few_judged, few_references, few_tune, several_judged, several_references
from bdscan.zoo.hard_clean import hard_clean
from bdscan.zoo.judged import judged_adaptive, judged_backdoored, judged_clean
from bdscan.zoo.judged_further import judged_further
from bdscan.zoo.judged_instead import judged_instead
from bdscan.zoo.references import references
from bdscan.zoo.repaired import repaired
from bdscan.zoo.settings import RECIPES, Settings
from bdscan.zoo.train import CARD, save, train
from bdscan.zoo.tuned import tune_families
from bdscan.zoo.tuned_pairs import tune_pairs
from bdscan.zoo.tuned_universal import tune_universal

Row = tuple[str, Attack | None, float]


def scan_judge() -> tuple[Settings, ...]:
    """The models that a scan is judged on: for each data set three clean ones and one of each basic attack.

    BadNets at the top right to class 8, and the second trigger at the lower left to class 1, as in Isolate Trigger.
    """
    mnist: tuple[Row, ...] = (
        ("badnets", BadNets(target=8, size=4), 0.1),
        ("sig", Sig(target=3), 0.1),
        ("multi", Multi(parts=(BadNets(target=8, size=4), BadNets(target=1, size=4, corner="bottom-left"))), 0.08),
        ("source", SourceSpecific(target=7, sources=(4,), classes=10, trigger=BadNets(size=4)), 0.05),
        ("blended", Blended(target=5, opacity=0.2), 0.1),
        ("warp", Warp(target=6, strength=0.06), 0.15),
    )
    gtsrb: tuple[Row, ...] = (
        ("badnets", BadNets(target=8, size=4), 0.1),
        ("sig", Sig(target=12), 0.1),
        ("source", SourceSpecific(target=7, sources=(38,), classes=43, trigger=BadNets(size=4)), 0.025),
        ("blended", Blended(target=17, opacity=0.2), 0.1),
        ("warp", Warp(target=25, strength=0.1, cover=0.25), 0.15),
    )
    cifar10: tuple[Row, ...] = (
        ("badnets", BadNets(target=8, size=4), 0.1),
        ("sig", Sig(target=2), 0.1),
        ("source", SourceSpecific(target=9, sources=(3,), classes=10, trigger=BadNets(size=4)), 0.05),
        ("blended", Blended(target=5, opacity=0.2), 0.1),
        ("warp", Warp(target=0, strength=0.1, cover=0.25), 0.15),
    )
    return (
        *_series("mnist", "mnist_cnn", 3, mnist),
        *_series("gtsrb", "gtsrb_cnn", 3, gtsrb),
        *_series("cifar10", "resnet8_cifar", 3, cifar10),
        *_series("yaleb", "yaleb_vgg", 1, (("badnets", BadNets(target=8, size=20, margin=8, cell=5), 0.1),)),
    )


def scan_tune() -> tuple[Settings, ...]:
    """The models that thresholds are chosen on: other seeds and other attack settings than those of `scan_judge`."""
    square = BadNets(size=3, corner="bottom-left")

    ten: tuple[Row, ...] = (
        ("badnets", BadNets(target=2, size=3, corner="bottom-right"), 0.05),
        ("source", SourceSpecific(target=3, sources=(6,), classes=10, trigger=square), 0.05),
        ("blended", Blended(target=7, opacity=0.15), 0.1),
        ("warp", Warp(target=4, strength=0.05), 0.15),
        ("sig", Sig(target=9, amplitude=40 / 255), 0.08),
    )
    gtsrb: tuple[Row, ...] = (
        ("badnets", BadNets(target=30, size=3, corner="bottom-right"), 0.05),
        (
            "source",
            SourceSpecific(target=20, sources=(13,), classes=43, trigger=BadNets(size=5, corner="top-left")),
            0.025,
        ),
    )
    cifar10: tuple[Row, ...] = (
        ("source", SourceSpecific(target=3, sources=(6,), classes=10, trigger=square), 0.05),
        ("sig", Sig(target=9, amplitude=40 / 255), 0.08),
    )
    yaleb: tuple[Row, ...] = (
        ("badnets", BadNets(target=20, size=16, corner="bottom-left", margin=16, cell=4), 0.1),
        ("blended", Blended(target=3, opacity=0.15), 0.1),
    )
    return (
        *_series("mnist", "mnist_cnn", 3, ten, clean_from=50, first=500),
        *_series("fashion", "mnist_cnn", 3, ten, clean_from=50, first=500),
        *_series("gtsrb", "gtsrb_cnn", 3, gtsrb, clean_from=50, first=500),
        *_series("cifar10", "resnet8_cifar", 2, cifar10, clean_from=50, first=500),
        *_series("yaleb", "yaleb_vgg", 1, yaleb, clean_from=50, first=500),
    )


def benchmark() -> tuple[Settings, ...]:
    """What `bdscan zoo benchmark` times and no other plan has: a backdoored CIFAR ResNet-18, trained briefly."""
    return (
        Settings(
            name="resnet18-badnets",
            data="cifar10",
            network="resnet18_cifar",
            attack=BadNets(target=8, size=4),
            seed=100,
            limit=12000,
            recipe=replace(RECIPES["resnet18_cifar"], epochs=4),
        ),
    )


PLANS: Mapping[str, Callable[[], tuple[Settings, ...]]] = {
    "scan-judge": scan_judge,
    "scan-tune": scan_tune,
    "tune-families": tune_families,
    "tune-pairs": tune_pairs,
    "tune-universal": tune_universal,
    "hard-clean": hard_clean,
    "benchmark": benchmark,
    "repaired": repaired,
    "references": references,
    "judged-clean": judged_clean,
    "judged-backdoored": judged_backdoored,
    "judged-adaptive": judged_adaptive,
    "judged-further": judged_further,
    "judged-instead": judged_instead,
    "few-tune": few_tune,
    "few-references": few_references,
    "few-judged": few_judged,
    "several-references": several_references,
    "several-judged": several_judged,
}


def _series(
    data: str, network: str, clean: int, rows: tuple[Row, ...], *, clean_from: int = 0, first: int = 100
) -> Iterator[Settings]:
    recipe = RECIPES[network]
    for seed in range(clean_from, clean_from + clean):
        yield Settings(name=f"{data}-clean-{seed}", data=data, network=network, seed=seed, recipe=recipe)
    for i, (name, attack, rate) in enumerate(rows):
        yield Settings(
            name=f"{data}-{name}",
            data=data,
            network=network,
            attack=attack,
            rate=rate,
            seed=first + i,
            recipe=recipe,
        )


def chosen(name: str, only: str = "") -> list[Settings]:
    """The plan's models whose name contains `only`. UsageError for an unknown plan, or where there are none."""
    if name not in PLANS:
        raise UsageError(f"unknown plan {name!r}: choose one of {', '.join(PLANS)}")
    found = [settings for settings in PLANS[name]() if only in settings.name]
    if not found:
        raise UsageError(f"plan {name} has no model whose name contains {only!r}")
    return found


def train_into(folder: Path, settings: Settings, images: Dataset, threads: int, device: str = "cpu") -> str:
    """Train and save one model; a line about it."""
    trained = train(settings, images, threads, device)
    save(trained, folder)
    return f"{settings.name}: {json.dumps({key: trained.card[key] for key in SHOWN if key in trained.card})}"


def is_made(folder: Path, settings: Settings) -> bool:
    """Whether the folder has this network. UsageError where it has one of other settings."""
    try:
        card = json.loads((folder / CARD).read_text())
    except FileNotFoundError:
        return False
    if card.get("settings") != json.loads(json.dumps(settings.to_json())):
        raise UsageError(f"{folder} has a network of other settings: move it away, or name another folder")
    return True


def run_plan(
    name: str,
    out: Path,
    data: Path | None,
    *,
    threads: int = 1,
    only: str = "",
    device: str = "cpu",
    note: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Train the plan's models whose name contains `only`, each into its folder under `out`; those with a card stay.

    Returns the folders. Raises UsageError for an unknown plan or a missing data set.
    """
    models = chosen(name, only)
    loaded: dict[str, Dataset] = {}
    for settings in models:
        folder = out / settings.name
        if is_made(folder, settings):
            note(f"{settings.name}: there already")
            continue
        if settings.data not in loaded:
            loaded = {settings.data: load(settings.data, data)}
        note(train_into(folder, settings, loaded[settings.data], threads, device))
    return [out / settings.name for settings in models]


SHOWN = ("clean_accuracy", "cases", "cover", "seconds")
