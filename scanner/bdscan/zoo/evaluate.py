"""`bdscan zoo evaluate`: error rates from surveys of judged networks, by attack, data set and architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bdscan.errors import UsageError
from bdscan.zoo import evaluate_parts
from bdscan.zoo.clean_images import PER_CLASS
from bdscan.zoo.evaluate_markdown import page
from bdscan.zoo.few_classes import JUDGE, JUDGE_SEVERAL, few_judged, several_judged
from bdscan.zoo.judged import judged_adaptive, judged_backdoored, judged_clean
from bdscan.zoo.judged_further import KINDS
from bdscan.zoo.judged_instead import judged_instead
from bdscan.zoo.rates import asr, is_alarm, is_learned, rates, share, split
from bdscan.zoo.record import write_json, write_text
from bdscan.zoo.survey import Row, read

LEAKS = 0.5  # of the images that lack its condition: a trigger that fires on so many has hardly learned it
BESIDE = ("adaptive", *KINDS)  # families that stand beside the rates and not in them


def run(
    files: Sequence[Path], out: Path, markdown: Path | None, references: Sequence[Path] = (), *, command: str
) -> dict[str, Any]:
    """Write the table of all surveyed networks and return it; with surveys of references also what they give."""
    rows = read(files)
    if not rows:
        raise UsageError(f"{', '.join(map(str, files))}: no line of a survey in it")
    table = evaluate(rows, read(references)) | {"command": command}
    write_json(out, table)
    if markdown is not None:
        write_text(markdown, page(table))
    return table


def evaluate(rows: Sequence[Row], references: Sequence[Row] = ()) -> dict[str, Any]:
    """Rates over clean networks and over backdoored ones whose backdoor was learned; the others are listed."""
    clean = [row for row in rows if row["truth"] == "clean"]
    bad = [row for row in rows if row["truth"] != "clean"]
    learned = [row for row in bad if is_learned(row) and family(row) not in BESIDE]
    beside = split([row for row in bad if is_learned(row) and family(row) in BESIDE], family)
    return {
        "networks": len(rows),
        "not_surveyed": not_surveyed(rows),
        "dates": sorted({row["made"]["date"] for row in rows}),
        "versions": sorted({f"bdscan {row['made']['version']}, torch {row['made']['torch']}" for row in rows}),
        "settings": sorted({scanned(row["made"]) for row in rows}),
        "overall": rates(clean, learned),
        "stand_ins": stand_ins(learned),
        "by_family": {k: rates(clean, part) for k, part in split(learned, family).items()},
        "beside": {name: rates(clean, beside[name]) for name in BESIDE if name in beside},
        "by_attack": {k: rates(clean, part) for k, part in split(learned, attack).items()},
        "by_data": pairs_of(clean, learned, data),
        "by_network": pairs_of(clean, learned, network),
        "baselines": evaluate_parts.baselines(clean, learned),
        "baselines_by_attack": evaluate_parts.found_by_attack(learned, attack),
        "families": evaluate_parts.families(clean, learned),
        "statistics": evaluate_parts.statistics(clean, learned),
        "unseen_data": evaluate_parts.unseen(references, clean, learned, data) if references else {},
        "unseen_network": evaluate_parts.unseen(references, clean, learned, network) if references else {},
        "weaker": weaker(learned),
        "not_learned": [
            {"name": row["name"], "asr": asr(row), "verdict": row["verdict"]} for row in bad if not is_learned(row)
        ],
        "unconditional": [{"name": row["name"], "leak": leak(row)} for row in learned if leak(row) >= LEAKS],
        "false_alarms": [brief(row) for row in clean if is_alarm(row)],
        "missed": [brief(row) for row in learned if not is_alarm(row)],
        "wrong_target": [brief(row) for row in learned if is_alarm(row) and not row["right"]],
        "no_verdict": [brief(row) for row in rows if row["verdict"] in ("error", "inconclusive")],
    }


def scanned(made: Row) -> str:
    per_class = made.get("per_class", PER_CLASS)
    return f"budget {made['budget']}, seed {made['seed']}, {per_class} clean images a class"


def not_surveyed(rows: Sequence[Row]) -> dict[str, int]:
    """Judged networks that count and have no line, by family: a survey may not have ended. Stand-ins where there are
    any."""
    have = {row["name"] for row in rows}
    first = min(have).split("-")[0]
    plans = {JUDGE: few_judged, JUDGE_SEVERAL: several_judged}
    wanted = plans[first]() if first in plans else (*judged_clean(), *judged_backdoored(), *judged_adaptive())
    if any(one.name in have for one in judged_instead()):
        wanted = (*wanted, *judged_instead())
    lacking = [one.name.split("-")[1] for one in wanted if one.name not in have]
    return {name: lacking.count(name) for name in sorted(set(lacking))}


def stand_ins(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Found among those first drawn and among their stand-ins; None where there is no stand-in."""
    names = {one.name for one in judged_instead()}
    parts = split(rows, lambda row: "instead" if row["name"] in names else "first")
    found = {key: share(is_alarm(row) for row in part) for key, part in parts.items()}
    return found if "instead" in found else None


def weaker(rows: Sequence[Row]) -> dict[str, Any]:
    """Found among networks of the same families trained at full intensity and below it (P0)."""
    families = {family(row) for row in rows if max(row["settings"]["intensity"]) < 1}
    same = [row for row in rows if family(row) in families]
    return {
        name: share(is_alarm(row) for row in same if (max(row["settings"]["intensity"]) < 1) == below)
        for name, below in (("full intensity", False), ("below", True))
    }


def pairs_of(clean: Sequence[Row], bad: Sequence[Row], by: Callable[[Row], str]) -> dict[str, Any]:
    """Rates within each group: its own clean networks beside its backdoored ones."""
    one, other = split(clean, by), split(bad, by)
    return {key: rates(one.get(key, []), other.get(key, [])) for key in sorted({*one, *other})}


def data(row: Row) -> str:
    return str(row["data"]).partition("[")[0]


def network(row: Row) -> str:
    return str(row["settings"]["network"])


def family(row: Row) -> str:
    """Of a name such as `judge-warp-03-mnist`."""
    return str(row["name"]).split("-")[1]


def attack(row: Row) -> str:
    return str(row["attack"])


def leak(row: Row) -> float:
    """How often the trigger fires where its condition (a source class, a look) is not met; the largest of the cases."""
    return max((float(case["leak"]) for case in row.get("card_cover") or []), default=0.0)


def brief(row: Row) -> dict[str, Any]:
    keys = ("name", "verdict", "score", "rule", "found_target", "found_sources", "targets", "sources")
    return {key: row.get(key) for key in keys} | {"asr": asr(row)}
