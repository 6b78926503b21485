"""The table of `bdscan zoo repair-table` as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from bdscan.zoo import paper_figures as p4
from bdscan.zoo.clean_images import PER_CLASS
from bdscan.zoo.hardened import section
from bdscan.zoo.record import markdown_table, number

Row = dict[str, Any]
HEADER = (
    "network", "method", "seeds", "clean accuracy before", "after", "points lost", "true ASR before", "after",
    "worst", "unstamped", "RA", "nDER", "outcome", "command, s", "P4: ASR after", "P4: accuracy before, after",
)  # fmt: skip
TEXT = """\
Accuracy, ASR and RA are percentages on {n} test images at most that neither scan nor repair saw; several triggers in
one network are averaged. Each network is scanned and repaired with {per_class} images a class, told nothing of the
trigger; half of them train, half are held out. "After" is the mean over the seeds of the repair, "worst" the highest
ASR of any trigger and seed. The first seed is the command itself, from file to file, with its second scan: its outcome
and seconds, on the CPU; on a GPU nothing was measured. "Unstamped" is the share of the same images that go to the
target without any trigger, after the repair: ASR cannot fall below it. RA is the share of stamped images that keep
their own class; nDER is P2's equation 1. The baselines get the same images, steps and seeds.
"""
FURTHER = "The scan of a first result still alarmed on these, so what it names was unlearned as well, with all seeds:\n"
OTHERS = "Made with another version of the repair: {names}.\n"


def page(table: dict[str, Any]) -> str:
    """The whole document."""
    clean = [row for row in table["rows"] if row.get("truth") == "clean"]
    rows = [row for row in table["rows"] if row not in clean]
    lines: list[tuple[object, ...]] = []
    for row in rows:
        lines += _lines(row)
    notes = [f"- `{row['name']}`: {row['note']}.\n" for row in rows if row.get("note")]
    notes += [
        f"- `{row['name']}` was rejected: {'; '.join(row['reasons'])}\n"
        for row in rows
        if row.get("outcome") == "rejected"
    ]
    further = [f"- `{row['name']}`: {row['between']}\n" for row in rows if row.get("between")]
    others = [f"`{row['name']}`" for row in table["rows"] if row.get("recipe") != table.get("recipe")]
    about = TEXT.format(n=2000, per_class=table.get("per_class", PER_CLASS))
    return "\n".join(
        [
            "# Repairs, measured with the true triggers\n" if rows else "# Clean networks hardened\n",
            f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}, "
            f"{table['threads']} threads of {table['cores']}, {table['cpu']}.\n",
            *([about, markdown_table(HEADER, lines)] if lines else []),
            *([OTHERS.format(names=", ".join(others))] if others else []),
            *([FURTHER, "".join(further)] if further else []),
            *(["## Not repaired\n", "".join(notes)] if notes else []),
            *(
                f"`{row['name']}` has no other images than its folder's: {row['halved']} were given to the scan and the"
                f" repair, as many measure.\n"
                for row in rows
                if row.get("halved")
            ),
            *([section(clean)] if clean else []),
        ]
    )


def _lines(row: Row) -> list[tuple[object, ...]]:
    if "before" not in row:
        return [(row["name"], "–", *(None,) * (len(HEADER) - 2))]
    before = row["before"]
    start = (_percent(before["accuracy"]), _percent(statistics.fmean(before["asr"])))
    lines: list[tuple[object, ...]] = []
    for name, found in {"bdscan repair": row.get("ours"), **row.get("baselines", {})}.items():
        if not isinstance(found, list):
            words = found or row.get("note") or "–"
            lines.append(
                (row["name"], name, None, start[0], None, None, start[1], *(None,) * 5, words, None, None, None)
            )
            continue
        own = name == "bdscan repair"
        accuracy = statistics.fmean(each["accuracy"] for each in found)
        rates = [statistics.fmean(each["asr"]) for each in found]
        paper = p4.REPAIR.get((row["data"], row["attack"])) if own else None
        lines.append(
            (
                row["name"],
                f"**{name}**" if own else name,
                len(found),
                start[0],
                _percent(accuracy),
                number(100 * (before["accuracy"] - accuracy), 1),
                start[1],
                _percent(statistics.fmean(rates)),
                _percent(max(max(each["asr"]) for each in found)),
                _percent(statistics.fmean(statistics.fmean(each["unstamped"]) for each in found)),
                _percent(statistics.fmean(statistics.fmean(each["ra"]) for each in found)),
                number(statistics.fmean(each["nder"] for each in found), 3),
                row.get("outcome") if own else None,
                number(row.get("command_seconds"), 0) if own else None,
                None if paper is None else f"{paper[0]:g}",
                None if paper is None else f"{paper[1]:g}, {paper[2]:g}",
            )
        )
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
