"""`bdscan zoo survey`: train every model of a plan, scan it, and keep what the scan said; the weights need not last.

One JSON line a model, written when it is done: a run that was cut short goes on where it was, and several runs may
share a plan, each with a file of its own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bdscan.errors import UsageError
from bdscan.report import Report
from bdscan.resources import resource
from bdscan.rules import describe_rules
from bdscan.zoo.baselines import at_our_budget
from bdscan.zoo.clean_images import PER_CLASS, CleanImages, as_trained, from_test_split, redrawn
from bdscan.zoo.data import Dataset, load
from bdscan.zoo.fidelity import scan_settings
from bdscan.zoo.model_folder import ModelFolder
from bdscan.zoo.model_folder import read as read_folder
from bdscan.zoo.plan import chosen, is_made
from bdscan.zoo.record import made, write_text
from bdscan.zoo.scan_table import scan_one
from bdscan.zoo.train import save, train

Row = dict[str, Any]


def run(
    plan: str,
    data: Path,
    out: Path,
    *,
    budget: str = "standard",
    seed: int = 0,
    threads: int = 1,
    only: str = "",
    share: tuple[int, int] = (1, 1),
    per_class: int = PER_CLASS,
    baselines: bool = False,
    models: Path | None = None,
    known: Iterable[Path] = (),
    device: str = "cpu",
    note: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Survey share `i` of `n` of the plan's models whose name contains `only`; the rows of `out`.

    Each scan gets `per_class` clean images a class, drawn anew for each network. With `baselines`, also what published
    detectors say of each. `models` keeps the networks, a folder each; those that are there already are not trained
    again. Lines that are in `out` stay, but for errors; with `baselines`, what they lack is added. Networks that the
    surveys `known` have are left to those. `device` is for training alone, as `train` takes it; scans run on the CPU.

    Raises UsageError for an unknown plan, a missing data set or device, or an `out` that is no survey or another one.
    """
    part, parts = share
    found = read([out]) if out.exists() else []
    rows = {row["name"]: row for row in found if row["verdict"] != "error"}
    rules = describe_rules(resource("rules"), few_classes=plan.startswith("few-")).sha256
    how = {"budget": budget, "seed": seed, "per_class": per_class, "rules": rules}
    if any({key: row["made"].get(key) for key in how} != how for row in rows.values()):
        raise UsageError(f"{out} was made with another budget, seed, number of images or rules; name another file")
    elsewhere = {row["name"] for row in read(file for file in known if file != out)}
    images: dict[str, tuple[Dataset, CleanImages]] = {}
    for settings in chosen(plan, only)[part - 1 :: parts]:
        row = rows.get(settings.name, {})
        wanted = json.loads(json.dumps(settings.to_json()))
        if row and row["settings"] != wanted:
            raise UsageError(f"{out}: {settings.name} has other settings than the plan's; name another file")
        compare = baselines and "baselines" not in row
        if settings.name in elsewhere or (row and not compare):
            continue
        if settings.data not in images:
            clean = from_test_split(settings.data, data, seed, per_class)
            images = {settings.data: (load(settings.data, data), clean)}
        dataset, clean = images[settings.data]
        clean = redrawn(clean, (seed, settings.seed), per_class)
        with tempfile.TemporaryDirectory() as scratch:
            folder = (models or Path(scratch)) / settings.name
            if not is_made(folder, settings):
                save(train(settings, dataset, threads, device), folder)
            model = read_folder(folder)
            own = as_trained(model, clean)
            if not row:
                row = scan_one(model, own, budget, seed, threads, compare=False, more=statistics) | {
                    "settings": wanted,
                    "input_shape": model.card["input_shape"],
                    "classes": model.card["num_classes"],
                    "parameters": model.card["parameters"],
                    "train_seconds": model.card["seconds"],
                    "train_device": model.card.get("device"),  # cards of older networks do not say
                    "made": made(f"bdscan zoo survey {plan}", **how, threads=threads),
                }
            if compare and "statistics" in row:
                row |= published(model, own, row, budget, seed, threads)
        rows[settings.name] = row
        write_text(out, "".join(json.dumps(one, allow_nan=False) + "\n" for one in rows.values()))
        note(f"{settings.name}: {row['verdict']}, score {row.get('score')}")
    return list(rows.values())


def statistics(report: Report) -> Row:
    """All of a report's statistics, as the pipeline computed them: name, target, sources, value to six digits."""
    return {
        "statistics": [
            [
                s.name,
                None if s.target is None else s.target.index,
                [source.index for source in s.sources],
                None if s.value is None else float(f"{s.value:.6g}"),
            ]
            for s in report.statistics
        ]
    }


def published(model: ModelFolder, clean: CleanImages, row: Row, budget: str, seed: int, threads: int) -> Row:
    """What published detectors say of the network that `row` is about, from the samples that its scan had."""
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "samples.npz"
        clean.write_drawn(samples)
        settings = scan_settings(model.weights, samples, model.arch(Path(scratch)), budget, seed, threads)
        return {"baselines": at_our_budget.measure(row["statistics"], settings)}


def read(files: Iterable[Path]) -> list[Row]:
    """The rows of surveys, by name. Raises UsageError for a file that is none, and for a name that comes twice."""
    rows: dict[str, Row] = {}
    for file in files:
        try:
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            named = {row["name"]: row for row in lines}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file}: not a survey that can be read ({type(error).__name__})") from None
        if len(named) < len(lines) or named.keys() & rows.keys():
            raise UsageError(f"{file}: a model that another line or file has too")
        rows |= named
    return [rows[name] for name in sorted(rows)]
