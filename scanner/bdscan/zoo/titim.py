"""`bdscan zoo titim`: training against inference intensity of a trigger (P0): who succeeds, and who notices.

For each attack one network is trained at each training intensity and tried at each inference intensity. Beside the
success rates: what a scan says of the network, and how well STRIP and Scale-Up tell triggered images from clean ones.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bdscan.errors import UsageError
from bdscan.zoo import input_level
from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.interface import stamp
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.attacks.warp import Warp
from bdscan.zoo.clean_images import as_trained, from_test_split
from bdscan.zoo.data import Dataset, load
from bdscan.zoo.measure import measure, present
from bdscan.zoo.model_folder import read as read_folder
from bdscan.zoo.record import made, write_json, write_text
from bdscan.zoo.scan_table import scan_one
from bdscan.zoo.settings import RECIPES, Settings
from bdscan.zoo.survey import published, statistics
from bdscan.zoo.titim_markdown import heat_map, page
from bdscan.zoo.train import Trained, save, train

TARGET = 3
TRAINING = (0.2, 0.4, 0.6, 0.8, 1.0)
INFERENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MIXED = ((1.0, 0.2), (1.0, 0.6, 0.2))
ATTACKS: Mapping[str, Attack] = {
    "badnets": BadNets(target=TARGET, size=4),
    "blended": Blended(target=TARGET, opacity=0.4),
    "sig": Sig(target=TARGET, amplitude=60 / 255),
    "bpp": Bpp(target=TARGET, depth=2.0),
    "compress": Compress(target=TARGET, quality=5),
    "warp": Warp(target=TARGET, strength=0.1),
    "styled": Styled(target=TARGET),
}
FIRST_SEED = 7000
IMAGES = 300  # test images of the input-level detectors


def run(
    data_name: str,
    network: str,
    data: Path,
    out: Path,
    folder: Path | None,
    *,
    command: str,
    attacks: Sequence[str] = (),
    limit: int | None = 12_000,
    budget: str = "standard",
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Make the grids of the named attacks (none: all) that `out` lacks; `folder` gets the page and its heat maps.
    `device` is for training alone, as `train` takes it; the rest is computed on the CPU.

    Raises UsageError for a missing data set, network or device.
    """
    table: dict[str, Any] = {"data": data_name, "network": network, "attacks": {}}
    how = {"data": data_name, "network": network, "budget": budget, "seed": seed, "limit": limit}
    if out.exists():
        table = json.loads(out.read_text())
        if {key: table.get(key) for key in how} != how:
            raise UsageError(f"{out} was made of other data, network or settings; name another file")
    images, clean = load(data_name, data), from_test_split(data_name, data, seed)
    for i, name in enumerate(ATTACKS):
        if name in table["attacks"] or (attacks and name not in attacks):
            continue
        rows = []
        for j, training in enumerate([*((t,) for t in TRAINING), *MIXED]):
            settings = Settings(
                name=f"titim-{name}-{'-'.join(map(str, training))}",
                data=data_name,
                network=network,
                attack=ATTACKS[name],
                intensity=training,
                seed=FIRST_SEED + 10 * i + j,
                limit=limit,
                recipe=RECIPES[network],
            )
            trained = train(settings, images, threads, device)
            rows.append(tried(trained, settings, images, seed) | {"device": trained.card["device"]})
            with tempfile.TemporaryDirectory() as scratch:
                save(trained, Path(scratch) / settings.name)
                model = read_folder(Path(scratch) / settings.name)
                own = as_trained(model, clean)
                found = scan_one(model, own, budget, seed, threads, compare=False, more=statistics)
                if "statistics" in found:
                    found |= published(model, own, found, budget, seed, threads)
            keys = ("verdict", "right", "rule", "score", "found_target", "statistics", "baselines")
            rows[-1]["scan"] = {key: found.get(key) for key in keys}
            note(f"{settings.name}: ASR {rows[-1]['asr']}, {found['verdict']}")
        grid, mixed = rows[: len(TRAINING)], rows[len(TRAINING) :]
        table["attacks"][name] = {"grid": grid, "mixed": mixed, "regions": regions(grid)}
        table |= made(command, budget=budget, seed=seed, threads=threads, limit=limit)
        write_json(out, table)
    if folder is not None:
        for name, one in table["attacks"].items():
            write_text(folder / f"{name}.svg", heat_map(name, one, TRAINING, INFERENCE))
        write_text(
            folder / "README.md",
            page(table, TRAINING, INFERENCE, [name for name in ATTACKS if name not in table["attacks"]]),
        )
    return table


def tried(trained: Trained, settings: Settings, images: Dataset, seed: int) -> dict[str, Any]:
    """Success and the input-level detectors' AUC at each inference intensity."""
    attack, model = settings.attack, trained.model
    assert attack is not None
    found = [measure(model, images.x_test, images.y_test, attack, v, seed=seed) for v in INFERENCE]
    rng = np.random.default_rng((seed, 3))
    others = np.flatnonzero(images.y_test != TARGET)
    rows = rng.permutation(others)[: 2 * IMAGES]
    use, overlays = images.x_test[rows[:IMAGES]], images.x_test[rows[IMAGES:]]
    aucs = [input_level_auc(model, use, stamp(attack.apply, use, v, rng), overlays, seed) for v in INFERENCE]
    return {
        "training": list(settings.intensity),
        "accuracy": found[0]["clean_accuracy"]["value"],
        "asr": [one["asr"]["value"] for one in found],
        "strip": [one["strip"] for one in aucs],
        "scale_up": [one["scale_up"] for one in aucs],
    }


def input_level_auc(
    model: nn.Module, clean: np.ndarray, stamped: np.ndarray, overlays: np.ndarray, seed: int
) -> dict[str, float]:
    """How well STRIP and Scale-Up tell stamped images from the same clean ones (AUC)."""

    def predict(pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            out: torch.Tensor = model(pixels)
        return out

    both = torch.cat([present(clean, 0.0, 1.0), present(stamped, 0.0, 1.0)])
    truth = [0] * len(clean) + [1] * len(stamped)
    values = {
        "strip": input_level.strip(predict, both, present(overlays, 0.0, 1.0), seed),
        "scale_up": input_level.scale_up(predict, both),
    }
    return {name: round(float(roc_auc_score(truth, value.numpy())), 4) for name, value in values.items()}


def regions(grid: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """P0's regions (figure 4) for each training and inference intensity, by the success rates alone.

    `overfitting` needs a network trained at that inference intensity to compare with; between two of them the nearest
    counts. `lost` is what P0's picture has no name for: a stronger trigger than the trained one that fails.
    """
    own = {row["training"][0]: row["asr"][_nearest(row["training"][0])] for row in grid}
    out = []
    for row in grid:
        trained = row["training"][0]
        line = []
        for intensity, asr in zip(INFERENCE, row["asr"], strict=True):
            matched = own[min(own, key=lambda t: abs(t - intensity))]
            if own[trained] < 0.5 or (asr < 0.5 and matched < 0.5):
                line.append("not converged")
            elif abs(intensity - trained) < 0.05:
                line.append("matched")
            elif intensity > trained:
                line.append("generalisation" if asr >= 0.5 else "lost")
            else:
                line.append("overfitting" if asr < matched - 0.05 else "robust")
        out.append(line)
    return out


def _nearest(intensity: float) -> int:
    return min(range(len(INFERENCE)), key=lambda i: abs(INFERENCE[i] - intensity))
