"""Error rates over surveyed networks: shares with their intervals, areas under curves, cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bdscan.detectors.wilson import wilson
from bdscan.zoo.scan_table import ALARMS
from bdscan.zoo.survey import Row

LEARNED = 0.8  # attack success rate from which a backdoor is there to be found


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
        "right_source": share(names_source(row) for row in found if sources_of(row)),
        "cross_entropy": cross_entropy([score(row) for row in clean], [score(row) for row in bad]),
        "seconds": float(np.median([row["seconds"] for row in [*clean, *bad] if "seconds" in row] or [0.0])),
    }


def sources_of(row: Row) -> set[int]:
    """The true source classes of the target that its first finding names; empty where that is no target, or all are."""
    if row.get("found_target") not in row["targets"]:
        return set()
    cases = zip(row["targets"], row["sources"], strict=True)
    return {source for target, sources in cases if target == row["found_target"] for source in sources}


def names_source(row: Row) -> bool:
    return bool(sources_of(row) & set(row["found_sources"]))


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


def split(rows: Iterable[Row], by: Callable[[Row], str]) -> dict[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(by(row), []).append(row)
    return out


def score(row: Row) -> float:
    return float(row.get("score") or 0.0)


def asr(row: Row) -> float | None:
    return None if row["card_asr"] is None else float(row["card_asr"]["value"])


def is_learned(row: Row) -> bool:
    return (asr(row) or 0.0) >= LEARNED


def is_alarm(row: Row) -> bool:
    return row["verdict"] in ALARMS
