"""Clean networks whose natural weaknesses the command itself unlearns (P4, V.D): class distance before and after.

P1's table 2 hardens networks and tells accuracy and class distance; here that is `bdscan repair --weaknesses` on what
the network's own scan reports.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from bdscan import api
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.load import load
from bdscan.jail.compute import deterministic
from bdscan.zoo.clean_images import CleanImages
from bdscan.zoo.fidelity import scan_settings
from bdscan.zoo.model_folder import ModelFolder
from bdscan.zoo.record import markdown_table, number, without_folders
from bdscan.zoo.repair_command import repaired

Row = dict[str, Any]
TEXT = """\
`bdscan repair --weaknesses`, from file to file, on clean networks: the most exposed labels that the scan reports are
unlearned. "Their success" is on held-out images, the mean over them; P4 (V.D) tells 0.11 % after a repair on MNIST
and 0.26 % on GTSRB. Class distance is the mean size in pixels of the smallest trigger from one class to another, of
the same pairs, images and start before and after (P1, L.1); "increase" is the mean of the pairs' own (eq. 12).
Accuracy is on all test images that neither scan nor repair saw. P1's own table 2 trains for longer on the whole
training set.
"""
HEADER = (
    "network", "scan", "weaknesses", "their success before", "after", "clean accuracy before", "after", "points lost",
    "pairs", "class distance before", "after", "increase", "outcome", "command, s",
)  # fmt: skip


def harden_one(model: ModelFolder, clean: CleanImages, threads: int) -> Row:
    """One clean network's row; `note` says why there is nothing to unlearn."""
    row: Row = {"name": model.name, "data": model.data, "truth": "clean"}
    images, labels = clean.to_measure(len(clean.y), 0)
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        samples = scratch / "samples.npz"
        clean.write_drawn(samples)
        settings = scan_settings(model.weights, samples, model.arch(scratch), "standard", 0, threads)
        try:
            report = api.run(settings)
            row["verdict"] = report.verdict.value
            row["weaknesses"] = sum(finding.weakness for finding in report.findings)
            repair, again = repaired(row, settings, report, scratch, weaknesses=True)
        except (UsageError, CannotJudge) as error:
            return {**row, "note": without_folders(str(error))[:300]}
        row["success"] = [fmean(getattr(each, when).value for each in repair.triggers) for when in ("before", "after")]
        row["distance"] = None if repair.distance is None else repair.distance.model_dump()
        with deterministic(settings):
            for when, which in (("before", settings), ("after", again)):
                classifier = load(which).scannable.classifier
                row[when] = float((classifier.predict(images).argmax(1) == labels).float().mean())
    return row


def section(rows: list[Row]) -> str:
    """The table as Markdown, and why networks are not in it."""
    lines = [_line(row) for row in rows if "outcome" in row]
    notes = [
        f"- `{row['name']}`, {row.get('verdict', 'not scanned')}: {row['note']}.\n" for row in rows if "note" in row
    ]
    notes += [
        f"- `{row['name']}` was rejected: {'; '.join(row['reasons'])}\n"
        for row in rows
        if row.get("outcome") == "rejected"
    ]
    parts = ["## Natural weaknesses unlearned\n", TEXT]
    return "\n".join([*parts, *([markdown_table(HEADER, lines)] if lines else []), "".join(notes)])


def _line(row: Row) -> tuple[object, ...]:
    apart = row["distance"] or {}
    return (
        row["name"],
        row["verdict"],
        row["weaknesses"],
        *(f"{100 * share:.1f}" for share in row["success"]),
        number(100 * row["before"], 1),
        number(100 * row["after"], 1),
        number(100 * (row["before"] - row["after"]), 1),
        apart.get("pairs"),
        number(apart.get("before"), 1),
        number(apart.get("after"), 1),
        f"{100 * apart['increase']:.0f} %" if apart else None,
        row["outcome"],
        number(row["command_seconds"], 0),
    )
