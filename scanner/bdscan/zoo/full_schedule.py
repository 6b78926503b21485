"""`bdscan zoo full-schedule`: P1's inversion and Neural Cleanse at their own length, beside their length in our tables.

The tables of error rates give published methods as many gradients as a standard scan gives one trigger family. Here
both get P1's schedule, 1000 epochs of 100 images in batches of 32 a label: whether more work would have changed them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bdscan.detectors.inversion.universal import FIRST
from bdscan.detectors.robust import Array
from bdscan.intake.classifier import Classifier
from bdscan.intake.load import load
from bdscan.intake.speed import fast
from bdscan.jail.compute import deterministic
from bdscan.zoo.baselines import neural_cleanse, p1_schedule
from bdscan.zoo.baselines.at_our_budget import published_inversion
from bdscan.zoo.clean_images import CleanImages, as_trained, from_test_split, redrawn
from bdscan.zoo.fidelity import scan_settings
from bdscan.zoo.model_folder import ModelFolder, find
from bdscan.zoo.record import kept_rows, made, markdown_table, number, write_json, write_text
from bdscan.zoo.scan_table import scan_one
from bdscan.zoo.survey import statistics

Row = dict[str, Any]
METHODS = {"p1": "P1", "nc": "Neural Cleanse"}
BUDGET = "standard"
KEPT = ("name", "truth", "attack", "targets", "verdict", "rule", "found_target", "seconds")  # of a scan's row


def run(
    folders: Sequence[Path],
    data: Path,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    seed: int = 0,
    threads: int = 1,
    epochs: int = p1_schedule.EPOCHS,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Scan and invert every network that has a card, and write the table after each; rows of `out` stay.

    Raises UsageError where a folder has no network, data is missing, or `out` is another table or another schedule's.
    """
    how = {"seed": seed, "epochs": epochs}
    header = made(command, **how, threads=threads)
    rows = {row["name"]: row for row in kept_rows(out, how, "seed or schedule", "name another file")}
    table: dict[str, Any] = {**header, "rows": list(rows.values())}
    for model in find(folders):
        if model.name in rows:
            continue
        drawn_by = (seed, int(model.card.get("settings", {}).get("seed", 0)))
        clean = as_trained(model, redrawn(from_test_split(model.data, data, seed), drawn_by))
        scanned = scan_one(model, clean, BUDGET, seed, threads, compare=False, more=statistics)
        row: Row = {key: scanned.get(key) for key in KEPT} | measure(model, clean, seed, threads, epochs)
        row["p1"]["ours"] = asdict(published_inversion(scanned.get("statistics", ()))) | {"seconds": None}
        rows[model.name] = row
        table = {**header, "rows": [rows[name] for name in sorted(rows)]}
        write_json(out, table)
        if markdown is not None:
            write_text(markdown, page(table))
        note(f"{model.name}: {model.truth}, {rows[model.name]['verdict']}")
    return table


def measure(model: ModelFolder, clean: CleanImages, seed: int, threads: int, epochs: int) -> Row:
    """Index, alarm above 2, target and seconds of both methods' full length, and of Neural Cleanse's at our budget.

    P1's inversion at our budget is the scan's own sparse family. The network runs in this process.
    """
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "samples.npz"
        clean.write_drawn(samples)
        settings = scan_settings(model.weights, samples, model.arch(Path(scratch)), BUDGET, seed, threads)
        with deterministic(settings):
            found = load(settings).scannable
            classifier = fast(found.classifier)
            few = found.samples.part(found.samples.search, classifier.device)
            whole = found.samples.images.to(classifier.device), found.samples.labels.to(classifier.device)
            iterations, per_step = FIRST[BUDGET]
            steps = epochs * p1_schedule.IMAGES // p1_schedule.BATCH
            return {
                "p1": {"full": _timed(lambda: p1_sizes(classifier, whole[0], epochs, seed))},
                "nc": {
                    "ours": _timed(lambda: nc_sizes(classifier, *few, iterations, per_step, seed)),
                    "full": _timed(lambda: nc_sizes(classifier, *whole, steps, p1_schedule.BATCH, seed)),
                },
            }


def p1_sizes(classifier: Classifier, images: Tensor, epochs: int, seed: int) -> Array:
    """Pixels of each label's smallest change (K,); all pixels where none reached the goal."""
    _, height, width = classifier.shape
    sizes = []
    for label in range(len(classifier.classes)):
        draw = np.random.default_rng((seed, label)).permutation(len(images))[: p1_schedule.IMAGES]
        found = p1_schedule.invert(classifier, images[draw.tolist()], label, epochs, seed)
        small = float(found.change.abs().amax(0).sum())
        sizes.append(small if found.success >= p1_schedule.GOAL else float(height * width))
    return np.array(sizes)


def nc_sizes(
    classifier: Classifier, images: Tensor, labels: Tensor, iterations: int, per_step: int, seed: int
) -> Array:
    """Pixels of each label's mask (K,)."""
    return neural_cleanse.inverted(
        classifier, images, labels, iterations=iterations, per_step=per_step, seed=seed
    ).sizes


def _timed(sizes: Callable[[], Array]) -> Row:
    began = time.perf_counter()
    found = sizes()
    return {
        **asdict(neural_cleanse.verdict(found)),
        "sizes": [float(f"{size:.6g}") for size in found],
        "seconds": round(time.perf_counter() - began, 1),
    }


def page(table: Row) -> str:
    """The table as Markdown: a line a network, each method at both lengths."""
    header = ["network", "attack", "targets", "bdscan", "its target", "s"]
    header += [f"{name}, {length}" for name in METHODS.values() for length in ("at our budget", "full schedule")]
    lines = [
        [
            row["name"],
            row["attack"] or "clean",
            ", ".join(map(str, row["targets"])) or None,
            f"{row['verdict']}{'' if row['rule'] is None else ', ' + row['rule']}",
            row["found_target"],
            number(row["seconds"], 0),
            *(_cell(row[method][length]) for method in METHODS for length in ("ours", "full")),
        ]
        for row in table["rows"]
    ]
    return (
        "# Published inversion at its full length\n\n"
        f"`{table['command']}`, {table['date']}; bdscan {table['version']}, torch {table['torch']}, {table['cpu']}, "
        f"{table['threads']} threads, seed {table['seed']}.\n\n"
        f"Full schedule: {table['epochs']} epochs of {p1_schedule.IMAGES} images in batches of {p1_schedule.BATCH} a "
        "label. Each cell: anomaly index (**bold** above 2, the papers' alarm), target that it names, seconds. Our own "
        "scan is the whole command. The published methods run on our fast form of the network (folded, bfloat16 where "
        'the processor has it), so the seconds are of the method and not of its authors\' code. "As in our tables": as '
        "many iterations as a standard scan gives a trigger family, on half of the images. Rows may be of different "
        "machines: seconds compare within a row. A label for which P1's inversion never reaches its goal "
        f"({100 * p1_schedule.GOAL:.0f} % success) counts as all pixels; where most labels do, the spread is next to "
        "nothing, and any label that gets there has an index near a hundred, on clean networks too.\n\n"
        + markdown_table(header, lines)
    )


def _cell(found: Row) -> str:
    index = f"{found['score']:.1f}"
    seconds = "" if found["seconds"] is None else f", {found['seconds']:.0f} s"
    return f"{f'**{index}**' if found['alarm'] else index} → {found['target']}{seconds}"
