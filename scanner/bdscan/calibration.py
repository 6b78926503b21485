"""Statistics -> p-values against reference models that are known to be clean.

A conformal rank p-value, (1 + #{reference >= observed}) / (1 + n), needs no distribution and holds as long as the
user's clean model resembles the references. Below 49 references it is provisional, and every report says so.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from bdscan import report

ENOUGH = 49


@dataclass(frozen=True)
class References:
    """Scores of clean reference models, as the pipeline really computed them."""

    name: str
    sha256: str
    scores: tuple[float, ...]
    note: str

    def p_value(self, score: float) -> float:
        return (1 + sum(s >= score for s in self.scores)) / (1 + len(self.scores))

    def describe(self) -> report.Calibration:
        provisional = len(self.scores) < ENOUGH
        return report.Calibration(
            name=self.name,
            sha256=self.sha256,
            references=len(self.scores),
            provisional=provisional,
            false_alarm_rate=None,
            note=self.note,
        )


def load_references(folder: Path) -> References:
    path = folder / "calibration" / "provisional.json"
    raw = path.read_bytes()
    data = json.loads(raw)
    return References(
        name=data["name"],
        sha256=hashlib.sha256(raw).hexdigest(),
        scores=tuple(float(m["score"]) for m in data["models"]),
        note=data["note"],
    )
