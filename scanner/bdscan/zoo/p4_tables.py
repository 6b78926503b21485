"""`bdscan zoo p4-tables`: P4's tables II, IV, V and VI (MNIST and GTSRB) made again, every method on the same networks.

Each network is loaded in this process, without isolation, with ten clean images a class drawn by the seed. A method
gets those and nothing else; its recovered triggers are measured on test images that no method saw.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.load import load
from bdscan.jail.compute import deterministic
from bdscan.settings import Settings
from bdscan.zoo import fidelity, p4_methods, paper_figures
from bdscan.zoo.ablation import detection
from bdscan.zoo.baselines.per_class import PerClass, floats
from bdscan.zoo.clean_images import CleanImages, as_trained, from_test_split
from bdscan.zoo.known_trigger import KnownTrigger, known_triggers
from bdscan.zoo.model_folder import ModelFolder, find
from bdscan.zoo.p4_markdown import page
from bdscan.zoo.record import kept_rows, made, without_folders, write_json, write_text

Row = dict[str, Any]
Rows = dict[tuple[str, str], Row]  # by network and method
IMAGES = 1000  # of the test split, for FIR and APD


def run(
    folders: Sequence[Path],
    data: Path,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    methods: Sequence[str] = (),
    seed: int = 0,
    threads: int = 1,
    only: str = "",
    resume: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the methods (all if none is named) on the networks of P4's rows; writes the table after each; returns it.

    Raises UsageError before the first one where a folder, a card, a data set, a method or the file to resume is wrong.
    """
    chosen = methods or tuple(p4_methods.METHODS)
    if unknown := sorted(set(chosen) - set(p4_methods.METHODS)):
        raise UsageError(f"no method {unknown[0]!r}; choose of {', '.join(p4_methods.METHODS)}")
    models = [model for model in find(folders, only) if key(model) in paper_figures.ROWS]
    if not models:
        raise UsageError("none of these networks is in P4's tables: MNIST with badnets, sig or multi, GTSRB with two")
    if len({key(model) for model in models}) < len(models):
        raise UsageError(f"more than one network for a row of P4's: {', '.join(m.name for m in models)}; use --only")
    table = made(command, seed=seed, threads=threads, images=IMAGES)
    how = {"seed": seed, "images": IMAGES}
    before = kept_rows(out, how, "seed or number of images", "leave --resume out to begin again") if resume else []
    rows = {(row["name"], row.get("method", "")): row for row in before if "error" not in row}
    _warm_up()
    images = {name: from_test_split(name, data, seed) for name in {model.data for model in models}}
    for model in models:
        missing = [method for method in chosen if (model.name, method) not in rows]
        for row in _measured(model, as_trained(model, images[model.data]), missing, seed, threads):
            rows[model.name, row["method"]] = row
            note(f"{model.name}, {row['method']}: {row.get('error') or row['seconds']}")
            _write(out, markdown, table, rows)
    return _write(out, markdown, table, rows)


def _write(out: Path, markdown: Path | None, header: dict[str, Any], rows: Rows) -> dict[str, Any]:
    table = {**header, "rows": [rows[name] for name in sorted(rows)]}
    write_json(out, table)
    if markdown is not None:
        write_text(markdown, page(table))
    return table


def _warm_up() -> None:
    """One step of Adam: torch imports a compiler before the first, seconds that are no method's."""
    weight = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([weight])
    torch.autograd.backward(weight.sum())
    optimiser.step()


def key(model: ModelFolder) -> paper_figures.Key:
    return model.data, str((model.card.get("settings", {}).get("attack") or {}).get("attack"))


def _measured(model: ModelFolder, clean: CleanImages, methods: Sequence[str], seed: int, threads: int) -> Iterator[Row]:
    """One row for each method, as they come."""
    if not methods:
        return
    images, labels = clean.to_measure(IMAGES, seed)
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "samples.npz"
        clean.write_drawn(samples)
        arch = model.arch(Path(scratch))
        settings = fidelity.scan_settings(model.weights, samples, arch, p4_methods.BUDGET, seed, threads)
        with deterministic(settings):
            subject = load(settings).scannable
            searched = p4_methods.whole(subject)
            for method in methods:
                row: Row = {"name": model.name, "key": list(key(model)), "targets": list(model.targets)}
                row |= {"method": method, "samples": len(subject.samples.labels)}
                yield row | one(method, subject, searched, known_triggers(model), images, labels, settings)


def one(
    method: str,
    subject: Scannable,
    searched: Scannable,
    known: Sequence[KnownTrigger],
    images: Tensor,
    labels: Tensor,
    settings: Settings,
) -> Row:
    """What a method says of the network, in tables II, IV, V and VI; `error` where it cannot run."""
    began, used = time.perf_counter(), _processor_seconds()
    try:
        found = p4_methods.METHODS[method](searched, settings)
    except (CannotJudge, UsageError) as error:
        return {"error": without_folders(str(error))}
    wall, seconds = time.perf_counter() - began, _processor_seconds() - used
    classes = len(subject.classifier.classes)
    return {
        **asdict(detection(set(found.flagged), {trigger.target for trigger in known}, classes)),
        "scores": list(found.scores),
        "details": {name: list(values) for name, values in found.details.items()},
        "wall_seconds": round(wall, 2),
        "seconds": round(seconds, 2),  # of the processor, all threads: other work on the machine does not count
        "seconds_a_class": round(seconds / classes, 3),
        "seconds_a_sample": round(seconds / len(subject.samples.labels), 4),
        "triggers": triggers(subject.classifier, found, known, images, labels),
    }


def _processor_seconds() -> float:
    """Of this process and of the workers that have ended."""
    return sum(os.times()[:4])


def triggers(
    classifier: Classifier, found: PerClass, known: Sequence[KnownTrigger], images: Tensor, labels: Tensor
) -> list[Row]:
    """Each true trigger beside the one recovered for its target, on images (N,C,H,W) in [0,1]; none without stamps."""
    rows = []
    for true in known:
        if true.target in found.stamps:
            same = fidelity.compare(classifier, images, labels, true, "recovered", found.stamps[true.target])
            numbers = {name: value for name, value in asdict(same).items() if name != "family"}
            rows.append({"target": true.target, **dict(zip(numbers, floats(list(numbers.values())), strict=True))})
    return rows
