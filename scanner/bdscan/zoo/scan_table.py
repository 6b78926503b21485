"""`bdscan zoo scan-table`: every network with a card scanned from its own file, and the verdict beside the truth."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bdscan import api
from bdscan.detectors.inversion.families import FAMILIES
from bdscan.errors import CannotJudge, UsageError
from bdscan.report import Finding, Report, Statistic
from bdscan.zoo import fidelity
from bdscan.zoo.clean_images import CleanImages, as_trained, from_test_split, own_samples
from bdscan.zoo.model_folder import ModelFolder, find
from bdscan.zoo.record import kept_rows, made, without_folders, write_json, write_text
from bdscan.zoo.scan_markdown import page

Row = dict[str, Any]
ALARMS = ("backdoor", "suspicious")
INDEX = tuple(f"{name}.index" for name in FAMILIES)


def run(
    folders: Sequence[Path],
    data: Path,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    budget: str = "standard",
    seed: int = 0,
    threads: int = 2,
    only: str = "",
    resume: bool = False,
    compare: bool = True,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Scan the networks in `folders` and write the table after each; returns it.

    Args:
        data: folder with one `.npz` a data set.
        resume: keep the rows of `out` that were made with the same budget and seed; an error is tried again.
        compare: also compare recovered triggers with the true ones, which loads the networks in this process.

    Raises UsageError before the first scan where a folder, a card or a data set cannot be read.
    """
    models = find(folders, only)
    header = made(command, budget=budget, seed=seed, threads=threads)
    how = {"budget": budget, "seed": seed}
    before = kept_rows(out, how, "budget or seed", "leave --resume out to begin again") if resume else []
    rows = {row["name"]: row for row in before if row.get("verdict") != "error"}
    images: dict[str, CleanImages] = {}
    for model in sorted(models, key=lambda m: m.data):
        if model.name in rows:
            note(f"{model.name}: there already")
            continue
        if model.samples is None and model.data not in images:
            images = {model.data: from_test_split(model.data, data, seed)}
        clean = own_samples(model, seed) if model.samples else as_trained(model, images[model.data])
        rows[model.name] = scan_one(model, clean, budget, seed, threads, compare)
        note(f"{model.name}: {model.truth}, {rows[model.name]['verdict']}")
        _write(out, markdown, header, rows)
    return _write(out, markdown, header, rows)


def scan_one(
    model: ModelFolder,
    clean: CleanImages,
    budget: str,
    seed: int,
    threads: int,
    compare: bool,
    more: Callable[[Report], Row] = lambda report: {},
) -> Row:
    """One network's row, with `more` of its report.

    A scan that ends with an error is a row too, and never right.
    """
    truth: Row = {
        "name": model.name,
        "data": model.data,
        "attack": model.card.get("settings", {}).get("attack", {}) or model.card.get("attack"),
        "truth": model.truth,
        "targets": list(model.targets),
        "sources": [list(one) for one in model.sources],
        "card_accuracy": model.card.get("clean_accuracy"),
        "card_asr": model.card.get("asr"),
        "card_cover": model.card.get("cover") or [],
    }
    if isinstance(truth["attack"], dict):
        truth["attack"] = truth["attack"]["attack"]
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "samples.npz"
        clean.write_drawn(samples)
        settings = fidelity.scan_settings(model.weights, samples, model.arch(Path(scratch)), budget, seed, threads)
        try:
            report = api.run(settings)
        except (UsageError, CannotJudge) as error:
            return {**truth, "verdict": "error", "error": without_folders(str(error)), "right": False}
        row = {**truth, **outcome(report, model.truth, model.targets, model.sources), **more(report)}
        if compare:
            x, y = clean.others(fidelity.IMAGES, seed)
            try:
                row["fidelity"] = fidelity.examine(model, report, settings, x, y)
            except Exception as error:  # must show in the table and must not end the others
                row["fidelity"] = {"error": without_folders(f"{type(error).__name__}: {error}")[:300]}
    return row


def outcome(report: Report, truth: str, targets: Sequence[int], sources: Sequence[Sequence[int]]) -> Row:
    """What the scan said: verdict, whether it is right, the first finding, and the statistics that decide."""
    first = next((finding for finding in report.findings if not finding.weakness), None)
    failed = [f"{s.name}: {s.error}" for s in report.stages if s.outcome == "failed"]
    return {
        "verdict": report.verdict.value,
        "right": is_right(report, truth, targets, sources),
        "summary": without_folders(report.summary),
        **_found(first),
        **key_statistics(report.statistics),
        "score": report.score,
        "clean_accuracy": {"value": report.subject.clean_accuracy, "n": report.subject.clean_accuracy_n},
        "preprocessing": report.subject.preprocessing.name,
        "lacking": list(report.lacking),
        "failed_stages": [without_folders(text) for text in failed],
        "seconds": report.run.seconds,
        "stages": {stage.name: stage.seconds for stage in report.run.stages},
        "peak_memory_mb": report.run.peak_memory_mb,
    }


def is_right(report: Report, truth: str, targets: Sequence[int], sources: Sequence[Sequence[int]]) -> bool:
    """Clean: the verdict is clean. Backdoored: an alarm, and the first finding that alarms names a true target.

    Where it names sources, one of them must be a true one of that target. Where half of the classes and more are
    targets (all-to-all) a finding about all sources says nothing, and is not right.
    """
    if truth == "clean":
        return report.verdict == "clean"
    first = next((finding for finding in report.findings if not finding.weakness), None)
    if report.verdict not in ALARMS or first is None or first.target is None:
        return False
    cases = [set(s) for t, s in zip(targets, sources, strict=True) if t == first.target.index]
    if not first.sources:
        return bool(cases) and (len(set(targets)) == 1 or 2 * len(set(targets)) < len(report.subject.classes))
    named = {source.index for source in first.sources}
    return any(not case or case & named for case in cases)


def key_statistics(statistics: Sequence[Statistic]) -> Row:
    """Largest anomaly index over the families with its label and ratio to the median; largest pair score."""
    indices = [s for s in statistics if s.name in INDEX and s.value is not None]
    pairs = [s for s in statistics if s.detector == "pairs" and s.sources and s.value is not None]
    best = max(indices, key=lambda s: s.value or 0.0, default=None)
    pair = max(pairs, key=lambda s: s.value or 0.0, default=None)
    ratio = None
    if best is not None:
        name = best.name.removesuffix("index") + "ratio"
        ratio = next((s.value for s in statistics if s.name == name and s.target == best.target), None)
    return {
        "index": None if best is None else best.value,
        "index_family": None if best is None else best.name.removesuffix(".index"),
        "index_target": None if best is None or best.target is None else best.target.index,
        "ratio": ratio,
        "pair_score": None if pair is None else pair.value,
        "pair": None if pair is None or pair.target is None else [*(s.index for s in pair.sources), pair.target.index],
    }


def _found(first: Finding | None) -> Row:
    if first is None:
        return {"rule": None, "found_target": None, "found_sources": [], "asr": None}
    asr = None if first.asr is None else {"value": first.asr, "interval": first.asr_interval, "n": first.asr_n}
    return {
        "rule": first.rule,
        "found_target": None if first.target is None else first.target.index,
        "found_sources": [source.index for source in first.sources],
        "asr": asr,
    }


def _write(out: Path, markdown: Path | None, header: dict[str, Any], rows: dict[str, Row]) -> dict[str, Any]:
    ordered = [rows[name] for name in sorted(rows)]
    table = {**header, "summary": summary(ordered), "rows": ordered}
    write_json(out, table)
    if markdown is not None:
        write_text(markdown, page(table))
    return table


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """How many networks, how many right, and on how many clean ones there was an alarm."""
    clean = [row for row in rows if row["truth"] == "clean"]
    return {
        "networks": len(rows),
        "right": sum(row["right"] for row in rows),
        "backdoored": len(rows) - len(clean),
        "backdoored_right": sum(row["right"] for row in rows if row["truth"] != "clean"),
        "clean": len(clean),
        "clean_alarms": sum(row["verdict"] in ALARMS for row in clean),
        "errors": sum(row["verdict"] == "error" for row in rows),
    }
