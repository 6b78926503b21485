"""The table of `bdscan zoo scan-table` as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bdscan.zoo import paper_figures as p4
from bdscan.zoo.record import markdown_table, number

Row = dict[str, Any]

VERDICTS = (
    "network", "truth", "verdict", "right", "target: true", "found", "sources: true", "found",
    "index (family, class)", "ratio", "pair score", "held-out ASR (n)", "clean accuracy (n)", "s",
)  # fmt: skip
FIDELITY = (
    "network", "target", "true ASR (n)", "unstamped APD", "in the report", "APD", "FIR", "ASR",
    "sparse: APD", "FIR", "ASR", "DMS: APD", "FIR", "ASR", "P4: APD", "FIR",
)  # fmt: skip
ABLATION = ("network", "flipped", "rows ACC", "TPR", "columns ACC", "TPR", "P4: ACC", "TPR")
CAVEAT = """\
These networks were looked at one by one while rules were made, from one draw of clean images: they show what a scan
does, not how often it errs.
"""
DEFINITIONS = """\
APD is the mean absolute difference, over clean test images, channels and pixels and in units of the full range,
between an image with the true trigger and the same image with the recovered one; "unstamped APD" is the same without a
recovered trigger. P4 gives (1/N) sum ||T_orig - T_rev|| and leaves N and the norm open. FIR is the share of correctly
classified clean test images (of the trigger's sources, without the target class; "n" of them) that the recovered
trigger makes misclassified, as anything; ASR counts the target alone. "In the report" is the family that the finding
shows; where that is not sparse, the plain sparse inversion stands beside it. "DMS" is the sparse inversion inside the
DMS mask, on the classes that the report suspects.
"""
ABLATION_TEXT = """\
ACC is the share of the classes that are called right (target of a backdoor, or not), TPR the share of the true targets
that are called: P4's metrics. "Rows" is k-means over each row of Lead, as in P4's algorithm 1; "columns" is
k-means over its column sums. Each cell: Steps / DMS-Steps (the gradient times the mask).
"""


def page(table: dict[str, Any]) -> str:
    """The whole document: summary, verdicts, fidelity, Steps against DMS-Steps, time a sample."""
    rows: list[Row] = table["rows"]
    s = table["summary"]
    parts = [
        "# Verdicts beside the truth\n",
        f"Right: {s['right']} of {s['networks']} ({s['backdoored_right']} of {s['backdoored']} backdoored with a "
        f"true target first, alarms on {s['clean_alarms']} of {s['clean']} clean; {s['errors']} scans ended "
        "with an error).\n",
        f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}, budget "
        f"{table['budget']}, seed {table['seed']}, {table['threads']} threads of {table['cores']}, {table['cpu']}.\n",
        CAVEAT,
        markdown_table(VERDICTS, [_verdict(row) for row in rows]),
        *_wrong(rows),
    ]
    compared = [line for row in rows for line in _fidelity(row)]
    if compared:
        parts += [
            "## Recovered triggers beside the true ones\n",
            DEFINITIONS,
            markdown_table(FIDELITY, compared),
        ]
    flips = [line for row in rows for line in _ablation(row)]
    if flips:
        parts += ["## Steps and DMS-Steps\n", ABLATION_TEXT, markdown_table(ABLATION, flips)]
        parts += ["## Seconds a sample\n", _seconds(rows)]
    return "\n".join(parts)


def _verdict(row: Row) -> list[object]:
    asr, accuracy = row.get("asr"), row.get("clean_accuracy")
    index = None
    if row.get("index") is not None:
        index = f"{row['index']:.1f} ({row['index_family']}, {row['index_target']})"
    pair = None
    if row.get("pair_score") is not None:
        pair = f"{row['pair_score']:.1f} ({row['pair'][0]} to {row['pair'][1]})"
    return [
        row["name"], row["truth"], row["verdict"], "yes" if row["right"] else "**no**",
        _list(row["targets"]), row.get("found_target"),
        "; ".join(_list(one) or "all" for one in row["sources"]) or None, _list(row.get("found_sources") or []),
        index, number(row.get("ratio")), pair,
        asr and f"{asr['value']:.2f} ({asr['n']})", accuracy and f"{accuracy['value']:.3f} ({accuracy['n']})",
        number(row.get("seconds"), 0),
    ]  # fmt: skip


def _wrong(rows: Sequence[Row]) -> Iterator[str]:
    """Why each wrong row is wrong, in the scan's own words; and what failed on the way."""
    lines = [f"- {row['name']}: {row.get('error') or row.get('summary')}" for row in rows if not row["right"]]
    lines += [f"- {row['name']}, failed stage {text}" for row in rows for text in row.get("failed_stages", ())]
    lines += [
        f"- {row['name']}, not compared: {f['error']}" for row in rows if "error" in (f := row.get("fidelity") or {})
    ]
    if lines:
        yield "Not right, or not whole:\n"
        yield "\n".join(lines) + "\n"


def _fidelity(row: Row) -> Iterator[list[object]]:
    key = (row["data"], str(row["attack"]))
    for one in (row.get("fidelity") or {}).get("triggers", ()):
        ways = [one.get(name) for name in ("report", "sparse", "dms")]
        first = next((way for way in ways if way), None)
        cells: list[object] = [row["name"], one["target"]]
        if first is None:
            yield [*cells, one.get("note", "not found"), *[None] * 11, p4.APD.get(key), p4.FIR.get(key)]
            continue
        cells += [f"{first['true_asr']:.2f} ({first['n']})", number(first["apd_unstamped"], 4)]
        cells += [ways[0]["family"] if ways[0] else "no finding"]
        for way in ways:
            cells += [number(way["apd"], 4), number(way["fir"]), number(way["asr"])] if way else [None] * 3
        yield [*cells, p4.APD.get(key), p4.FIR.get(key)]


def _ablation(row: Row) -> Iterator[list[object]]:
    found = (row.get("fidelity") or {}).get("ablation")
    if not found:
        return
    key = (row["data"], str(row["attack"]))
    ways = [found.get("steps"), found.get("dms_steps")]

    def both(*path: str) -> str:
        return " / ".join(_at(way, path) or "–" for way in ways)

    paper = [p4.STEPS.get(key), p4.DMS_STEPS.get(key)]
    theirs = [" / ".join(f"{p[i]:.2f}" for p in paper if p) or None for i in (0, 1)]
    measures = [both(kind, metric) for kind in ("rows", "columns") for metric in ("acc", "tpr")]
    yield [row["name"], both("flipped"), *measures, *theirs]


def _at(way: Row | None, path: Sequence[str]) -> str | None:
    value: Any = way
    for key in path:
        value = None if value is None else value[key]
    return number(value)


def _seconds(rows: Sequence[Row]) -> str:
    """Mean over each data set's networks, beside P4's table VI."""
    lines: list[list[object]] = []
    for data in sorted({row["data"] for row in rows}):
        found = [
            f["seconds_per_sample"]
            for row in rows
            if row["data"] == data and "ablation" in (f := row.get("fidelity") or {})
        ]
        if found:
            mean = [sum(one[name] for one in found) / len(found) for name in ("steps", "dms")]
            lines.append(
                [data, len(found), number(mean[0], 4), number(mean[1], 4), *p4.SECONDS.get(data, (None, None))]
            )
    text = "P4 measured on an RTX 3060; a sample is one search image, DMS the map and the inversion inside it.\n\n"
    return text + markdown_table(("data", "networks", "Steps", "DMS", "P4: Steps", "P4: DMS"), lines)


def _list(values: Sequence[int]) -> str | None:
    return ", ".join(str(value) for value in values) or None
