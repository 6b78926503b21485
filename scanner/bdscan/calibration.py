"""A score -> a p-value against reference models that are known to be clean.

A conformal rank p-value, (1 + #{reference >= observed}) / (1 + n), needs no distribution and holds as long as the
user's clean model resembles the references. Below 49 references it is provisional, and every report says so. What sets
a model apart from every reference is said too.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdscan import report
from bdscan.errors import UsageError

ENOUGH = 49
ALIKE = 1.5  # times as many pixels a side, or classes, at most
FEW_CLASSES = 8  # below, labels can hardly be compared with each other
TELLING = ("index", "contrast", "kmeans_rows")  # endings of the statistics that grow with suspicion


@dataclass(frozen=True)
class Reference:
    """One clean network, as the pipeline saw it.

    Attributes:
        input_shape: (C, H, W).
        alarm: whether its scan ended in an alarm, a false one.
        margins: the largest margin of each trigger family, of which `score` is the largest; empty where not known.
        statistics: the largest of each TELLING one that its scan measured.
    """

    score: float
    alarm: bool
    input_shape: tuple[int, int, int]
    classes: int
    accuracy: float
    margins: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)

    def score_of(self, families: frozenset[str] | None) -> float:
        """Its score had only these families been looked for; None: all. Where that is not known, the whole score, which
        is no lower: a p-value may come out too large, never too small."""
        if families is None or not self.margins:
            return self.score
        return max((value for family, value in self.margins.items() if family in families), default=0.0)

    @property
    def side(self) -> int:
        return max(self.input_shape[1:])


@dataclass(frozen=True)
class References:
    """Clean reference models, scanned at one budget and by one set of rules (its digest; None if not known).

    `per_class`: clean images a class that each of their scans was given; None if not known.
    """

    name: str
    sha256: str
    budget: str
    models: tuple[Reference, ...]
    note: str
    rules: str | None = None
    per_class: int | None = None

    def p_value(
        self, score: float | None, budget: str, families: frozenset[str] | None = None, rules: str | None = None
    ) -> float | None:
        """None without references, without a score, and at another budget or by other rules than theirs: there scores
        differ.

        `families` are those that were asked for, where not all were: references are held to the same.
        """
        if score is None or not self._like(budget, rules):
            return None
        return self.rank(score, families)

    def ranked(
        self, found: Iterable[report.Statistic], budget: str, rules: str | None = None
    ) -> tuple[report.Statistic, ...]:
        """The statistics, TELLING ones with p-values of their own: ranks among the references' largest.

        A stage that was not needed leaves a reference without some; a statistic that fewer than ENOUGH have gets none.
        """
        if not self._like(budget, rules):
            return tuple(found)
        return tuple(self._ranked(one) for one in found)

    def _ranked(self, one: report.Statistic) -> report.Statistic:
        theirs = [m.statistics[one.name] for m in self.models if one.name in m.statistics]
        if one.value is None or not one.name.endswith(TELLING) or len(theirs) < ENOUGH:
            return one
        return one.model_copy(update={"p_value": rank_p_value(theirs, one.value), "reference": self.name})

    def _like(self, budget: str, rules: str | None) -> bool:
        return bool(self.models) and budget == self.budget and rules in (None, self.rules)

    def rank(self, score: float, families: frozenset[str] | None = None) -> float:
        """The p-value whatever the budget was: for a decision that needs one."""
        return rank_p_value((m.score_of(families) for m in self.models), score)

    def decides(self, level: float, budget: str, rules: str | None) -> bool:
        """Whether a p-value of these can be as small as `level`, and is of this budget and these rules."""
        return (1 + len(self.models)) * level >= 1 and budget == self.budget and self.rules in (None, rules)

    def describe(
        self,
        subject: report.Subject | None = None,
        samples: report.SamplesInfo | None = None,
        newer: Sequence[str] = (),
    ) -> report.Calibration:
        """What a report says of them; `newer` are rules in force that they were not scanned by."""
        n = len(self.models)
        notes = [self.note, *([] if subject is None or not n else self.unlike(subject))]
        notes += [] if samples is None or not n else self.fewer(samples)
        if newer and n:
            named = " and ".join([", ".join(newer[:-1]), newer[-1]] if len(newer) > 1 else newer)
            notes.append(f"They were scanned without {named}: the rate leaves out their alarms, which have no p-value.")
        return report.Calibration(
            name=self.name,
            sha256=self.sha256,
            references=n,
            provisional=n < ENOUGH,
            false_alarm_rate=sum(m.alarm for m in self.models) / n if n else None,
            note=" ".join(notes),
        )

    def fewer(self, samples: report.SamplesInfo) -> list[str]:
        """Whether this scan had less than half of the clean images a class that theirs had."""
        usual = statistics.median_low([count for count in samples.per_class if count])
        if self.per_class is None or 2 * usual >= self.per_class:
            return []
        return [f"The references had {self.per_class} clean images a class, this scan {usual}: p-values mean less."]

    def unlike(self, subject: report.Subject) -> list[str]:
        """What sets this model apart from every reference."""
        sides, classes = {m.side for m in self.models}, {m.classes for m in self.models}
        worst, side, count = min(m.accuracy for m in self.models), max(subject.input_shape[1:]), len(subject.classes)
        channels = {m.input_shape[0] for m in self.models}
        out = []
        if not _near(side, sides):
            out.append(f"No reference has images of about {side} pixels (theirs: {_listed(sides)}).")
        if subject.input_shape[0] not in channels:
            out.append(f"No reference has images of {subject.input_shape[0]} channels (theirs: {_listed(channels)}).")
        if not _near(count, classes):
            out.append(f"No reference has about {count} classes (theirs: {_listed(classes)}).")
        if count < FEW_CLASSES:
            out.append("With so few classes its labels say little about each other.")
        if subject.clean_accuracy < worst:
            out.append(f"No reference is as inaccurate (theirs: {worst:.0%} and more).")
        return out


def _near(value: int, known: Iterable[int]) -> bool:
    return any(max(value, one) <= ALIKE * min(value, one) for one in known)


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def rank_p_value(references: Iterable[float], observed: float) -> float:
    """(1 + #{reference >= observed}) / (1 + n)."""
    values = list(references)
    return (1 + sum(value >= observed for value in values)) / (1 + len(values))


def load_references(folder: Path, own: str | None = None) -> References:
    """The one file in `calibration/`, or the user's own. Raises UsageError where that one cannot be read."""
    if own is None:
        (path,) = sorted((folder / "calibration").glob("*.json"))
        return _references(path.read_bytes())
    try:
        return _references(Path(own).read_bytes())
    except OSError as error:
        raise UsageError(f"--calibration: cannot read {own!r} ({error.strerror}); check the path") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"--calibration: {own!r} is no file that `bdscan zoo calibrate` writes; make one of your reports with it"
        ) from None


def _references(raw: bytes) -> References:
    data = json.loads(raw)
    return References(
        name=str(data["name"]),
        sha256=hashlib.sha256(raw).hexdigest(),
        budget=str(data["budget"]),
        models=tuple(_reference(m) for m in data["models"]),
        note=str(data["note"]),
        rules=None if data.get("rules") is None else str(data["rules"]),
        per_class=None if data.get("per_class") is None else int(data["per_class"]),
    )


def _reference(model: dict[str, Any]) -> Reference:
    channels, height, width = model["input_shape"]
    return Reference(
        score=_finite(model["score"]),
        alarm=bool(model["alarm"]),
        input_shape=(channels, height, width),
        classes=int(model["classes"]),
        accuracy=_finite(model["accuracy"]),
        margins={str(family): _finite(value) for family, value in model.get("margins", {}).items()},
        statistics={str(name): _finite(value) for name, value in model.get("statistics", {}).items()},
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number
