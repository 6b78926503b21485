"""`bdscan zoo evaluate`: error rates from surveys of judged networks, by attack, data set and architecture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bdscan.detectors.wilson import wilson
from bdscan.zoo.evaluate_markdown import page
from bdscan.zoo.record import write_json, write_text
from bdscan.zoo.scan_table import ALARMS
from bdscan.zoo.survey import Row, read

LEARNED = 0.8  # attack success rate from which a backdoor is there to be found


def run(files: Sequence[Path], out: Path, markdown: Path | None, *, command: str) -> dict[str, Any]:
    """Write the table of all surveyed networks and return it."""
    table = evaluate(read(files)) | {"command": command}
    write_json(out, table)
    if markdown is not None:
        write_text(markdown, page(table))
    return table


def evaluate(rows: Sequence[Row]) -> dict[str, Any]:
    """Rates over clean networks and over backdoored ones whose backdoor was learned; the others are listed."""
    clean = [row for row in rows if row["truth"] == "clean"]
    bad = [row for row in rows if row["truth"] != "clean"]
    learned = [row for row in bad if is_learned(row)]
    return {
        "networks": len(rows),
        "dates": sorted({row["made"]["date"] for row in rows}),
        "versions": sorted({f"bdscan {row['made']['version']}, torch {row['made']['torch']}" for row in rows}),
        "settings": sorted({f"budget {row['made']['budget']}, seed {row['made']['seed']}" for row in rows}),
        "overall": rates(clean, learned),
        "by_family": {k: rates(clean, part) for k, part in split(learned, family).items()},
        "by_attack": {k: rates(clean, part) for k, part in split(learned, attack).items()},
        "by_data": pairs_of(clean, learned, lambda row: str(row["data"])),
        "by_network": pairs_of(clean, learned, lambda row: str(row["settings"]["network"])),
        "weaker": weaker(learned),
        "not_learned": [{"name": row["name"], "asr": asr(row)} for row in bad if not is_learned(row)],
        "false_alarms": [brief(row) for row in clean if row["verdict"] in ALARMS],
        "missed": [brief(row) for row in learned if row["verdict"] not in ALARMS],
        "wrong_target": [brief(row) for row in learned if row["verdict"] in ALARMS and not row["right"]],
        "no_verdict": [brief(row) for row in rows if row["verdict"] in ("error", "inconclusive")],
    }


def rates(clean: Sequence[Row], bad: Sequence[Row]) -> dict[str, Any]:
    """AUC of the score; shares with 95 % Wilson intervals. What ended without a verdict counts as no alarm."""
    found = [row for row in bad if row["verdict"] in ALARMS]
    return {
        "clean": len(clean),
        "backdoored": len(bad),
        "auc": auc([score(row) for row in clean], [score(row) for row in bad]),
        "false_alarms": share(row["verdict"] in ALARMS for row in clean),
        "found": share(row["verdict"] in ALARMS for row in bad),
        "confirmed": share(row["verdict"] == "backdoor" for row in bad),
        "right_target": share(row["right"] for row in found),
        "cross_entropy": cross_entropy([score(row) for row in clean], [score(row) for row in bad]),
        "seconds": float(np.median([row["seconds"] for row in [*clean, *bad] if "seconds" in row] or [0.0])),
    }


def auc(clean: Sequence[float], bad: Sequence[float]) -> float | None:
    if not clean or not bad:
        return None
    truth = [0] * len(clean) + [1] * len(bad)
    return float(roc_auc_score(truth, [*clean, *bad]))


def probability(value: float) -> float:
    """A score as the probability of a backdoor: one half where rules begin to alarm, steep around it."""
    power = min(value, 10.0) ** 4
    return min(max(power / (1 + power), 0.005), 0.995)


def cross_entropy(clean: Sequence[float], bad: Sequence[float]) -> float | None:
    """TrojAI's score, in nats, of `probability`."""
    parts = [-math.log(1 - probability(s)) for s in clean] + [-math.log(probability(s)) for s in bad]
    return sum(parts) / len(parts) if parts else None


def share(events: Iterable[bool]) -> dict[str, Any]:
    values = [bool(event) for event in events]
    low, high = wilson(sum(values), len(values))
    return {"k": sum(values), "n": len(values), "low": low, "high": high}


def weaker(rows: Sequence[Row]) -> dict[str, Any]:
    """Found among networks of the same families trained at full intensity and below it (P0)."""
    families = {family(row) for row in rows if max(row["settings"]["intensity"]) < 1}
    same = [row for row in rows if family(row) in families]
    return {
        name: share(row["verdict"] in ALARMS for row in same if (max(row["settings"]["intensity"]) < 1) == below)
        for name, below in (("full intensity", False), ("below", True))
    }


def split(rows: Iterable[Row], by: Callable[[Row], str]) -> dict[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(by(row), []).append(row)
    return out


def pairs_of(clean: Sequence[Row], bad: Sequence[Row], by: Callable[[Row], str]) -> dict[str, Any]:
    """Rates within each group: its own clean networks beside its backdoored ones."""
    one, other = split(clean, by), split(bad, by)
    return {key: rates(one.get(key, []), other.get(key, [])) for key in sorted({*one, *other})}


def family(row: Row) -> str:
    """Of a name such as `judge-warp-03-mnist`."""
    return str(row["name"]).split("-")[1]


def attack(row: Row) -> str:
    return str(row["attack"])


def score(row: Row) -> float:
    return float(row.get("score") or 0.0)


def asr(row: Row) -> float | None:
    return None if row["card_asr"] is None else float(row["card_asr"]["value"])


def is_learned(row: Row) -> bool:
    return (asr(row) or 0.0) >= LEARNED


def brief(row: Row) -> dict[str, Any]:
    keys = ("name", "verdict", "score", "rule", "found_target", "found_sources", "targets", "sources")
    return {key: row.get(key) for key in keys} | {"asr": asr(row)}
