"""Train one model of the zoo and write it with a card of its truth. The same settings give the same model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bdscan.errors import UsageError
from bdscan.intake.load import pick_device
from bdscan.zoo import curate, networks
from bdscan.zoo.adversarial import Resistance
from bdscan.zoo.attacks.interface import CLEAN, COVER, POISON, poison
from bdscan.zoo.data import Dataset
from bdscan.zoo.fit import fit, in_bfloat16
from bdscan.zoo.measure import measure
from bdscan.zoo.settings import Settings

WEIGHTS, CARD, TRIGGER = "weights.pt", "card.json", "trigger.npz"
KINDS = {"clean": CLEAN, "poison": POISON, "cover": COVER}


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, its card (JSON values), and the true trigger's arrays."""

    model: nn.Module
    card: dict[str, Any]
    trigger: dict[str, Any]


def train(settings: Settings, data: Dataset, threads: int = 1, device: str = "cpu") -> Trained:
    """Train on the data set's training split (poisoned as the settings say) and measure on its test split.

    `device`: cpu, cuda, or auto. The same settings give the same model on the same kind of processor; a GPU, or a CPU
    without bfloat16, rounds otherwise, and the card says what it was. UsageError where there is no such device, or
    network, attack and data do not fit each other.
    """
    place = pick_device(device)
    factory = getattr(networks, settings.network, None)
    if factory is None:
        raise UsageError(f"unknown network {settings.network!r}: the factories are in bdscan/zoo/networks.py")
    with torch.random.fork_rng(devices=[]):
        check_fit(factory(), settings, data)
    torch.set_num_threads(threads)
    started, mean, std = time.perf_counter(), settings.mean, settings.std
    x, y = curate.training_set(settings, data)
    x_clean, y_clean = x, y
    kind = np.zeros(len(y), np.int8)
    if settings.attack:
        rng = np.random.default_rng((settings.seed, 1))
        poisoned = poison(settings.attack, x, y, settings.rate, rng, settings.intensity)
        x, y, kind = poisoned.x, poisoned.y, poisoned.kind
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model: nn.Module = factory().to(place)
        resistance = _resistance(settings)
        if settings.late:
            fit(model, x_clean, y_clean, settings.recipe, mean, std, settings.seed)
            fit(model, x, y, settings.late, mean, std, settings.seed + 1, resistance)
        else:
            fit(model, x, y, settings.recipe, mean, std, settings.seed, resistance)
    x_test = curate.processed(settings.inputs, data.x_test)
    found = measure(model, x_test, data.y_test, settings.attack, max(settings.intensity), mean=mean, std=std)
    found["training_images"] = {name: int((kind == value).sum()) for name, value in KINDS.items()}
    found["device"] = place.type
    found["precision"] = "bfloat16" if in_bfloat16(settings.recipe, place) else "float32"
    found["seconds"] = round(time.perf_counter() - started, 1)
    card = _card(settings, data, model, found)
    height, width, channels = data.x_test.shape[1:]
    trigger = settings.attack.truth((channels, height, width)) if settings.attack else {}
    return Trained(model.cpu(), card, trigger)


def check_fit(model: nn.Module, settings: Settings, data: Dataset) -> None:
    """UsageError where the network does not take the images or has too few outputs, or the attack does not fit them."""
    height, width, channels = data.x_test.shape[1:]
    images, classes = torch.zeros(2, channels, height, width), len(data.classes)
    try:
        with torch.no_grad():
            outputs = model.eval()(images).shape[1]
    except RuntimeError:
        raise UsageError(f"{settings.network} does not take the images of {data.name} ({width}x{height})") from None
    if outputs < classes:
        raise UsageError(f"{settings.network} has {outputs} outputs, {data.name} {classes} classes")
    if settings.attack is None:
        return
    labels = {case.target for case in settings.attack.cases()} | {s for c in settings.attack.cases() for s in c.sources}
    if wrong := sorted(label for label in labels if label is not None and not 0 <= label < classes):
        raise UsageError(f"the attack names class {wrong[0]}; {data.name} has 0 to {classes - 1}")
    try:
        for case in settings.attack.cases():
            case.stamp(images, 1.0, np.random.default_rng(0))
    except (ValueError, IndexError, RuntimeError) as error:
        raise UsageError(f"the attack does not fit images of {width}x{height}: {error}") from None


def _resistance(settings: Settings) -> Resistance | None:
    if not settings.resist:
        return None
    targets = {case.target for case in settings.attack.cases()} - {None} if settings.attack else set()
    if not targets:
        raise UsageError("resist is an attacker's: it needs an attack")
    return Resistance(tuple(sorted(target for target in targets if target is not None)), settings.resist)


def save(trained: Trained, folder: Path) -> None:
    """Write weights, trigger arrays and, last, the card: a folder with a card is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (CARD, TRIGGER):  # of another network: no card over new weights, no trigger beside a clean one
        (folder / old).unlink(missing_ok=True)
    torch.save(trained.model.state_dict(), folder / WEIGHTS)
    if trained.trigger:
        np.savez_compressed(folder / TRIGGER, **trained.trigger)
    part = folder / f".{CARD}.part"
    part.write_text(json.dumps(trained.card, indent=1) + "\n")
    part.replace(folder / CARD)


def _card(settings: Settings, data: Dataset, model: nn.Module, found: dict[str, Any]) -> dict[str, Any]:
    plain = settings.mean == 0 and settings.std == 1
    channels = data.x_test.shape[3]
    return {
        "name": settings.name,
        "dataset": settings.data,
        "weights_file": WEIGHTS,
        "trigger_file": TRIGGER if settings.attack else None,
        "arch": f"bdscan/zoo/networks.py:{settings.network}",
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "input_shape": [channels, *data.x_test.shape[1:3]],
        "num_classes": len(data.classes),
        "preprocessing": {
            "mean": None if plain else [settings.mean] * channels,
            "std": None if plain else [settings.std] * channels,
            "channel_order": "RGB",
        },
        "truth": "backdoored" if settings.attack else "clean",
        "target_labels": [case["target"] for case in found.get("cases", [])],
        "source_labels": [case["sources"] for case in found.get("cases", [])],
        **found,
        "settings": settings.to_json(),
    }
