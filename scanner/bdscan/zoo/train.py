"""Train one model of the zoo and write it with a card of its truth. The same settings give the same model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bdscan.errors import UsageError
from bdscan.zoo import networks
from bdscan.zoo.attacks.interface import CLEAN, COVER, POISON, Images, Labels, poison
from bdscan.zoo.data import Dataset
from bdscan.zoo.measure import measure
from bdscan.zoo.settings import Recipe, Settings

WEIGHTS, CARD, TRIGGER = "weights.pt", "card.json", "trigger.npz"
KINDS = {"clean": CLEAN, "poison": POISON, "cover": COVER}


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, its card (JSON values), and the true trigger's arrays."""

    model: nn.Module
    card: dict[str, Any]
    trigger: dict[str, Any]


def train(settings: Settings, data: Dataset, threads: int = 1) -> Trained:
    """Train on the data set's training split (poisoned as the settings say) and measure on its test split."""
    factory = getattr(networks, settings.network, None)
    if factory is None:
        raise UsageError(f"unknown network {settings.network!r}: the factories are in bdscan/zoo/networks.py")
    torch.set_num_threads(threads)
    started = time.perf_counter()
    x, y = data.x_train[: settings.limit], data.y_train[: settings.limit]
    kind = np.zeros(len(y), np.int8)
    if settings.attack:
        rng = np.random.default_rng((settings.seed, 1))
        poisoned = poison(settings.attack, x, y, settings.rate, rng, settings.intensity)
        x, y, kind = poisoned.x, poisoned.y, poisoned.kind
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model: nn.Module = factory()
        fit(model, x, y, settings.recipe, settings.mean, settings.std, settings.seed)
    level, mean, std = max(settings.intensity), settings.mean, settings.std
    found = measure(model, data.x_test, data.y_test, settings.attack, level, mean=mean, std=std)
    found["training_images"] = {name: int((kind == value).sum()) for name, value in KINDS.items()}
    found["seconds"] = round(time.perf_counter() - started, 1)
    card = _card(settings, data, model, found)
    height, width, channels = data.x_test.shape[1:]
    trigger = settings.attack.truth((channels, height, width)) if settings.attack else {}
    return Trained(model, card, trigger)


def fit(model: nn.Module, x: Images, y: Labels, recipe: Recipe, mean: float, std: float, seed: int) -> None:
    """Train in place on uint8 images (N,H,W,C) and labels (N,); leaves the model in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y)
    if recipe.bfloat16:
        model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = -(-len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps * recipe.epochs, pct_start=0.2
    )
    model.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x), generator=draw)
        for start in range(0, len(x), recipe.batch):
            rows = order[start : start + recipe.batch]
            batch = (augment(images[rows], recipe, draw).float() / 255 - mean) / std
            if recipe.bfloat16:
                batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                logits = model(batch)
            loss = functional.cross_entropy(logits.float(), labels[rows], label_smoothing=recipe.smoothing)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    model.to(memory_format=torch.contiguous_format)
    model.eval()


def augment(images: Tensor, recipe: Recipe, draw: torch.Generator) -> Tensor:
    """Move every image by up to `shift` pixels (edges repeated) and mirror every second one, at random."""
    count, _, height, width = images.shape
    if recipe.shift:
        span = 2 * recipe.shift + 1
        down = torch.randint(span, (count, 1), generator=draw) - recipe.shift + torch.arange(height)
        right = torch.randint(span, (count, 1), generator=draw) - recipe.shift + torch.arange(width)
        rows, columns = down.clamp(0, height - 1)[:, :, None], right.clamp(0, width - 1)[:, None]
        images = images[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
    if recipe.flip:
        mirrored = torch.rand(count, generator=draw) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def save(trained: Trained, folder: Path) -> None:
    """Write weights, trigger arrays and, last, the card: a folder with a card is complete."""
    folder.mkdir(parents=True, exist_ok=True)
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
