"""`bdscan zoo calibrate`: surveyed clean networks become the references that scans are held to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdscan.calibration import rank_p_value
from bdscan.errors import UsageError
from bdscan.report import COMPARISON
from bdscan.saved import read_report
from bdscan.zoo.evaluate_parts import margins, telling
from bdscan.zoo.record import write_json
from bdscan.zoo.scan_table import ALARMS
from bdscan.zoo.survey import Row, read
from bdscan.zoo.survey import statistics as measured


def run(
    files: Sequence[Path], out: Path, *, name: str, note: str = "", level: float | None = None, command: str
) -> dict[str, Any]:
    """Write the references and return them.

    With a `level`, where an alarm is to count only beyond references, that of one counts as false only where no more
    than this share of all the others score as high.

    Raises UsageError where a network is not clean, a scan ended with an error, or scans differ in budget, seed, rules,
    or twofold in images a class: a reference that is left out because it looked bad would make the rates better
    than they are.
    """
    rows = _rows(files)
    if not rows:
        raise UsageError(f"{', '.join(map(str, files))}: no line of a survey in it")
    for row in rows:
        if row["truth"] != "clean":
            raise UsageError(f"{row['name']} is not clean: references must be")
        if row.get("score") is None:
            raise UsageError(f"{row['name']} has no score ({row['verdict']}): scan it again")
        if row["verdict"] == "inconclusive" and row.get("lacking") != [COMPARISON]:
            raise UsageError(f"{row['name']} was not wholly scanned: its score would be too low")
    kinds = {tuple(row["made"].get(key) for key in ("budget", "seed", "rules")) for row in rows}
    if len(kinds) != 1:
        raise UsageError("the scans differ in budget, seed or rules; references need one of each")
    ((budget, seed, rules),) = kinds
    given = [row["made"].get("per_class") for row in rows]
    known = [count for count in given if count is not None]
    if known and (len(known) != len(given) or max(known) > 2 * min(known)):
        raise UsageError("the scans were given too different numbers of images a class; references need about the same")
    models = [_model(row) for row in rows]
    if level is not None:
        for model in models:
            others = [one["score"] for one in models if one is not model]
            model["alarm"] = model["alarm"] and rank_p_value(others, model["score"]) <= level
    table = {
        "name": name,
        "note": f"Scanned at the {budget} budget. {note}".strip(),
        "command": command,
        "budget": budget,
        "seed": seed,
        "per_class": min(known, default=None),
        "rules": rules,
        "dates": sorted({row["made"]["date"] for row in rows}),
        "versions": sorted({f"bdscan {row['made']['version']}" for row in rows}),
        "models": models,
    }
    write_json(out, table)
    return table


def _rows(files: Sequence[Path]) -> list[Row]:
    """Lines of surveys, and reports of scans (`.json`) as lines; the user vouches that reported models are clean."""
    reports, surveys = ([f for f in files if (f.suffix == ".json") is one] for one in (True, False))
    return [*read(surveys), *(_of_report(path) for path in reports)]


def _of_report(path: Path) -> Row:
    report = read_report(str(path))
    if report.settings.get("detectors"):
        raise UsageError(f"{path}: scanned with --detectors; references are scanned with all")
    have, outputs = sum(count > 0 for count in report.samples.per_class), len(report.subject.classes)
    if COMPARISON in report.lacking and have < outputs:
        raise UsageError(f"{path}: its samples were of {have} of {outputs} classes, so that nothing could be compared")
    return {
        "name": path.stem,
        "truth": "clean",
        "score": report.score,
        "verdict": report.verdict.value,
        "lacking": list(report.lacking),
        "input_shape": list(report.subject.input_shape),
        "classes": len(report.subject.classes),
        "clean_accuracy": {"value": report.subject.clean_accuracy},
        "settings": {},
        "made": {
            "per_class": statistics.median_low([count for count in report.samples.per_class if count]),
            "budget": report.settings["budget"],
            "seed": report.settings["seed"],
            "rules": report.rules.sha256 if report.rules else None,
            "date": report.run.started[:10],
            "version": report.tool.version,
            "torch": "",
        },
    } | measured(report)


def _model(row: Row) -> dict[str, Any]:
    return {
        "name": row["name"],
        "score": row["score"],
        "alarm": row["verdict"] in ALARMS,
        "verdict": row["verdict"],
        "input_shape": row["input_shape"],
        "classes": row["classes"],
        "accuracy": row["clean_accuracy"]["value"],
        "margins": {family: round(value, 4) for family, value in margins(row).items()},
        "statistics": telling(row),
        "settings": row["settings"],
    }
