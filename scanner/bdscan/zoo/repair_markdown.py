"""The table of `bdscan zoo repair-table` as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from bdscan.repair.measure import POISONED, RELEARN_STEPS
from bdscan.zoo import paper_figures as p4
from bdscan.zoo.clean_images import PER_CLASS
from bdscan.zoo.hardened import section
from bdscan.zoo.record import markdown_table, number
from bdscan.zoo.repair_truth import IMAGES

Row = dict[str, Any]
HEADER = (
    "network", "method", "seeds", "images", "clean accuracy before", "after", "points lost", "true ASR before", "after",
    "worst", "unstamped", "RA", "nDER", "relearned", "outcome", "command, s",
)  # fmt: skip
TEXT = """\
Percentages, on test images that neither scan nor repair saw: accuracy on all of them ("images"), ASR and RA on {n} at
most, where several triggers in one network are averaged. Each network is scanned and repaired with {per_class} images a
class, told nothing of the trigger; half of them train, half are held out. "After" is the mean over the seeds of the
repair, "worst" the highest ASR of any trigger and seed. The first seed is the command itself, from file to file, with
its second scan: its outcome and seconds, on the CPU; on a GPU nothing was measured. "Unstamped" is the share of the
same images that go to the target without any trigger, after the repair: ASR cannot fall below it. RA is the share of
stamped images that keep their own class; nDER is P2's equation 1. "Relearned" is the recovered trigger's success on
held-out images after a further {steps} steps of training with up to {poisoned} poisoned ones: what so few bring back.
Behind the stroke, where it was measured, the same for three classes that no trigger led to: what a backdoor that never
was there reaches. The baselines get the same images, steps and seeds.
"""
P4_HEADER = (
    "P4", "ASR before", "after", "accuracy before", "after",
    "our network", "ASR before", "after", "accuracy before", "after",
)  # fmt: skip
BESIDE = """\
P4's table III and figure 9, in percent, with the network of ours that is nearest: other training, triggers and, for
CASSOCK and HCB, other data than its.
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
    per_class = table.get("per_class", PER_CLASS)
    about = TEXT.format(n=IMAGES, per_class=per_class, steps=RELEARN_STEPS, poisoned=POISONED)
    return "\n".join(
        [
            "# Repairs, measured with the true triggers\n" if rows else "# Clean networks hardened\n",
            f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}, "
            f"{table['threads']} threads of {table['cores']}, {table['cpu']}.\n",
            *([about, markdown_table(HEADER, lines)] if lines else []),
            *_beside_p4(rows),
            *([OTHERS.format(names=", ".join(others))] if others else []),
            *([FURTHER, "".join(further)] if further else []),
            *(["## Not repaired\n", "".join(notes)] if notes else []),
            *(
                f"`{row['name']}` has no other images than its folder's: {row['halved']} were given to the scan and the"
                f" repair, as many measure.\n"
                for row in rows
                if row.get("halved")
            ),
            *(
                f"`{row['name']}`: {row['images']} test images are left; triggers were tried on the {row['trained']}"
                f" that it was trained on as well.\n"
                for row in rows
                if row.get("trained")
            ),
            *([section(clean)] if clean else []),
        ]
    )


def _lines(row: Row) -> list[tuple[object, ...]]:
    if "before" not in row:
        return [(row["name"], "–", *(None,) * (len(HEADER) - 2))]
    before, images = row["before"], row.get("images")
    start = (_percent(before["accuracy"]), _percent(statistics.fmean(before["asr"])))
    lines: list[tuple[object, ...]] = []
    for name, found in {"bdscan repair": row.get("ours"), **row.get("baselines", {})}.items():
        if not isinstance(found, list):
            words = found or row.get("note") or "–"
            lines.append((row["name"], name, None, images, start[0], None, None, start[1], *(None,) * 6, words, None))
            continue
        own = name == "bdscan repair"
        accuracy = statistics.fmean(each["accuracy"] for each in found)
        rates = [statistics.fmean(each["asr"]) for each in found]
        lines.append(
            (
                row["name"],
                f"**{name}**" if own else name,
                len(found),
                images,
                start[0],
                _percent(accuracy),
                number(100 * (before["accuracy"] - accuracy), 1),
                start[1],
                _percent(statistics.fmean(rates)),
                _percent(max(max(each["asr"]) for each in found)),
                _percent(statistics.fmean(statistics.fmean(each["unstamped"]) for each in found)),
                _percent(statistics.fmean(statistics.fmean(each["ra"]) for each in found)),
                number(statistics.fmean(each["nder"] for each in found), 3),
                _relearned(row) if own else None,
                row.get("outcome") if own else None,
                number(row.get("command_seconds"), 0) if own else None,
            )
        )
    return lines


def _relearned(row: Row) -> str | None:
    probe = row.get("relearn") or {}
    rates = (probe.get("after"), probe.get("elsewhere"))
    return " / ".join(_percent(rate["hits"] / rate["n"]) for rate in rates if rate and rate["n"]) or None


def _beside_p4(rows: list[Row]) -> list[str]:
    """P4's table III, row by row, with our networks; nothing where none of them is in the table."""
    known = {row["name"]: row for row in rows if isinstance(row.get("ours"), list)}
    lines = []
    for name, of, asr, accuracy, left, kept in p4.REPAIR:
        if name in known:
            before, found = known[name]["before"], known[name]["ours"]
            lines.append(
                (
                    *(of, number(asr, 2), left, number(accuracy, 2), number(kept, 2), name),
                    number(100 * statistics.fmean(before["asr"]), 2),
                    number(100 * statistics.fmean(statistics.fmean(each["asr"]) for each in found), 2),
                    number(100 * before["accuracy"], 2),
                    number(100 * statistics.fmean(each["accuracy"] for each in found), 2),
                )
            )
    return ["## Beside P4\n", BESIDE, markdown_table(P4_HEADER, lines)] if lines else []


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
