"""The table of `bdscan zoo benchmark` as Markdown."""

from __future__ import annotations

from typing import Any

from bdscan.zoo.record import markdown_table, number

Row = dict[str, Any]

HEADER = (
    "part", "network", "parameters", "classes", "budget", "s (limit)", "peak MiB (limit)", "verdict",
    "right target", "P1's schedule, s", "times faster (limit)", "kept",
)  # fmt: skip
TEXT = """
Seconds are the whole command's, from the start of its process to its end; the peak is the resident memory of the
largest process. P1's schedule is all labels, 1000 epochs of 100 images in batches of 32, Adam, eq. 3 to 5, in float32
on the same network and threads: the median of a few epochs of one label after a warm-up, multiplied out. The
page is meant to be made on an idle machine. ResNet-18 has 240 s where the processor computes in bfloat16, else 480.
"""


def page(table: dict[str, Any]) -> str:
    """The whole document: the table, what differs per row, and seconds a stage."""
    scans = {name: row for name, row in table["rows"].items() if "stages" in row}
    parts = ["# Benchmark\n"]
    parts += [
        f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}, {table['threads']} "
        f"threads of {table['cores']}, {table['device']}, {table['cpu']}.\n{TEXT}"
    ]
    if scans:
        parts += [markdown_table(HEADER, [_line(name, row) for name, row in scans.items()])]
    if "help" in table["rows"]:
        row = table["rows"]["help"]
        kept = "kept" if row["within"]["seconds"] else "**not kept**"
        parts += [f"`bdscan --help`: {row['seconds']:.2f} s (limit {row['limits']['seconds']} s, {kept}).\n"]
    many = scans.get("imagenet1000")
    if many:
        kept = "kept" if many["within"]["classes"] else "**not kept**"
        parts += [f"From 10 to 1000 outputs: {many['classes_factor']:.1f} times the seconds (limit 5, {kept}).\n"]
    parts += [f"- {name}: {row['note']}" for name, row in scans.items() if row["note"]]
    parts += [f"- {name}, failed stage {text}" for name, row in scans.items() for text in row["failed_stages"]]
    parts += [f"- {name} was measured on {row['made']['date']}, {row['made']['cpu']}" for name, row in _older(table)]
    if scans:
        stages = dict.fromkeys(stage for row in scans.values() for stage in row["stages"])
        lines = [[stage, *(number(row["stages"].get(stage), 1) for row in scans.values())] for stage in stages]
        parts += ["\n## Seconds a stage\n", markdown_table(("stage", *scans), lines)]
    return "\n".join(parts)


def _line(name: str, row: Row) -> list[object]:
    limits = row["limits"]

    def bounded(value: float, limit: float | None, digits: int) -> str:
        return f"{value:.{digits}f}" + (f" ({limit:g})" if limit is not None else "")

    right = row["within"].get("right")
    return [
        name, row["network"], f"{row['parameters']:,}", row["classes"], row["budget"],
        bounded(row["seconds"], limits["seconds"], 1), bounded(row["peak_mb"], limits["peak_mb"], 0), row["verdict"],
        None if right is None else ("yes" if right else "**no**"), number(row["schedule"]["seconds"], 0),
        bounded(row["faster"], limits["faster"], 0), "yes" if all(row["within"].values()) else "**no**",
    ]  # fmt: skip


def _older(table: dict[str, Any]) -> list[tuple[str, Row]]:
    """Rows of an earlier day or another machine than the table's header says."""
    keys = ("date", "cpu", "version", "device", "threads")
    return [(name, row) for name, row in table["rows"].items() if any(row["made"][k] != table[k] for k in keys)]
