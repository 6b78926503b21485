"""`bdscan zoo repair-table`: backdoored networks scanned, repaired, and measured with their true triggers; clean ones
hardened where that is asked for.

The scan and the first repair are the user's own commands, in the worker, from file to file; further seeds repeat the
unlearning alone, in this process. Published methods get the same images and seeds. Only the measuring knows the truth.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bdscan import api
from bdscan.detectors.common import lighter
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.load import load
from bdscan.jail.compute import deterministic
from bdscan.repair import rounds
from bdscan.repair.planted import named, planted
from bdscan.repair.rounds import Plan, repair_weights
from bdscan.repair.student import frozen
from bdscan.repair.unnamed import unnamed
from bdscan.report import Report
from bdscan.settings import Settings
from bdscan.zoo.baselines.channel_lipschitz import channel_lipschitz
from bdscan.zoo.baselines.fine_pruning import fine_pruning
from bdscan.zoo.baselines.fine_tuning import fine_tuning
from bdscan.zoo.clean_images import PER_CLASS, CleanImages, as_trained, from_test_split, own_samples
from bdscan.zoo.fidelity import scan_settings
from bdscan.zoo.hardened import harden_one
from bdscan.zoo.known_trigger import KnownTrigger, known_triggers
from bdscan.zoo.model_folder import ModelFolder, find
from bdscan.zoo.record import kept_rows, made, without_folders, write_json, write_text
from bdscan.zoo.repair_command import repaired
from bdscan.zoo.repair_markdown import page
from bdscan.zoo.repair_truth import Truth, Unrepaired, measured, nder, truth

Row = dict[str, Any]
BASELINES: Mapping[str, Callable[[Scannable, int], Classifier]] = {
    "fine-tuning": fine_tuning,
    "fine-pruning": fine_pruning,
    "CLP": channel_lipschitz,
}
TRAINING = (
    "fresh", "hidden_waves", "layers", "planted", "recipe", "rounds", "sharp_patches", "sharp_patterns", "sharp_warps",
    "sharp_waves", "sharpen", "sharper", "student", "unlearn", "unnamed", "varied", "waves",
)  # fmt: skip
"""What `repair.rounds` trains with, and what finds its triggers."""


def run(
    folders: Sequence[Path],
    data: Path,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    seeds: int = 3,
    threads: int = 2,
    only: str = "",
    resume: bool = False,
    weaknesses: bool = False,
    per_class: int = PER_CLASS,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Repair the backdoored networks in `folders` and write the table after each; returns it.

    With `weaknesses` also the clean ones, for a table of their own. Each gets `per_class` clean images a class.

    Raises UsageError before the first repair where a folder, a card or a data set cannot be read.
    """
    how = {"seeds": seeds, "per_class": per_class, "recipe": recipe()}
    header = made(command, threads=threads, **how)
    differs = "number of seeds or of images a class, or version of the repair"
    kept = kept_rows(out, how, differs, "name another --out") if resume else []
    rows: dict[str, Row] = {row["name"]: row for row in kept}
    models = [model for model in find(folders, only) if weaknesses or model.truth == "backdoored"]
    for model in models:
        if model.name in rows:
            note(f"{model.name}: there already")
            continue
        clean = images_for(model, data, per_class)
        own = (
            repair_one(model, clean, measured(model, clean, data), seeds, threads)
            if model.truth == "backdoored"
            else harden_one(model, clean, threads)
        )
        rows[model.name] = {**own, "recipe": how["recipe"]}
        note(f"{model.name}: {own.get('note') or own['outcome']}")
        table = {**header, "rows": [rows[name] for name in sorted(rows)]}
        write_json(out, table)
        if markdown is not None:
            write_text(markdown, page(table))
    return {**header, "rows": [rows[name] for name in sorted(rows)]}


def recipe() -> str:
    """A digest of the code that trains: `page` says which rows are of another."""
    folder = Path(rounds.__file__).parent
    return hashlib.sha256(b"".join((folder / f"{name}.py").read_bytes() for name in TRAINING)).hexdigest()[:16]


def images_for(model: ModelFolder, data: Path, per_class: int) -> CleanImages:
    """Images to give, and others to measure with: where the folder has no more than are asked for, half of them."""
    if model.samples:
        own = own_samples(model, 0, per_class)
        return own if len(own.drawn) < len(own.y) else own_samples(model, 0, max(per_class // 2, 2))
    return as_trained(model, from_test_split(model.data, data, 0, per_class))


def repair_one(model: ModelFolder, clean: CleanImages, images: Unrepaired, seeds: int, threads: int) -> Row:
    """One network's row; `note` says why there is no repair."""
    row: Row = {"name": model.name, "data": model.data, "attack": _attack(model), "targets": list(model.targets)}
    known = known_triggers(model)
    if not known:
        return {**row, "note": "the card does not describe the true trigger exactly"}
    row["images"], row["trained"] = images.untrained, len(images.y) - images.untrained
    if model.samples and len(clean.drawn) == images.untrained:
        row["halved"] = images.untrained
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "samples.npz"
        clean.write_drawn(samples)
        settings = scan_settings(model.weights, samples, model.arch(Path(scratch)), "standard", 0, threads)
        try:
            with deterministic(settings):
                subject = load(settings).scannable
                before = truth(subject.classifier, images, known)
                row["before"] = asdict(before)
                row["baselines"] = _baselines(subject, before, images, known, seeds)
            report = api.run(settings)
            row["verdict"] = report.verdict.value
            results = _repairs(row, settings, subject, report, Path(scratch), images, known, seeds)
        except (UsageError, CannotJudge) as error:
            return {**row, "note": without_folders(str(error))[:300]}
    row["ours"] = [{**asdict(after), "nder": nder(before, after)} for after in results]
    return row


def _repairs(
    row: Row,
    settings: Settings,
    subject: Scannable,
    report: Report,
    scratch: Path,
    images: Unrepaired,
    known: Sequence[KnownTrigger],
    seeds: int,
) -> list[Truth]:
    repair, again = repaired(row, settings, report, scratch)
    further = named(repair.between) if repair.between else ()
    subject, own = lighter(subject), planted(report)
    triggers = (*further, *own, *unnamed(report, subject, own, settings.seed))
    row["relearn"] = None if repair.relearn is None else repair.relearn.model_dump()
    with deterministic(settings):
        found = [truth(load(again).scannable.classifier, images, known)]
        for seed in range(1, 1 if repair.cut else seeds):  # a cut draws nothing
            student, _ = repair_weights(subject, triggers, Plan(), seed, lambda stage, share: None)
            found.append(truth(frozen(student), images, known))
    return found


def _baselines(
    subject: Scannable, before: Truth, images: Unrepaired, known: Sequence[KnownTrigger], seeds: int
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, method in BASELINES.items():
        try:
            found = [truth(method(subject, seed), images, known) for seed in range(seeds)]
            out[name] = [{**asdict(after), "nder": nder(before, after)} for after in found]
        except CannotJudge as error:
            out[name] = str(error)
    return out


def _attack(model: ModelFolder) -> str | None:
    attack = model.card.get("settings", {}).get("attack") or model.card.get("attack")
    return attack["attack"] if isinstance(attack, dict) else attack
