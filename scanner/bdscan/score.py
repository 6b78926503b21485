"""How near anything that was measured comes to an alarm, 1 and more being one; the largest is the model's score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bdscan.detectors.confirmation import Confirmation
from bdscan.detectors.interface import Detector
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.report import Statistic
from bdscan.rules import Rule, applies, margin

LARGEST = 100.0
NOT_SEARCHED_AGAIN = 0.99  # at most: without a second search there is no alarm
Found = tuple[str, int | None, tuple[int, ...]]  # family (`pair` for pairs, or a detector), target, source classes


def margins(
    rules: Sequence[Rule],
    confirmed: Sequence[Confirmation],
    candidates: Iterable[Candidate],
    statistics: Iterable[Statistic],
) -> dict[Found, float]:
    """The largest margin of a rule that alarms, for each family, target and sources; at most LARGEST.

    What was confirmed or refuted counts with what that found, no longer with what the first search alone let fear.
    """
    alarms = [rule for rule in rules if not rule.weakness]
    values: list[tuple[Found, float]] = []
    for c in confirmed:
        known = _margins(alarms, c.trigger, c.metrics)
        values += [(_found(c.trigger), v if c.repeat is not None else min(v, NOT_SEARCHED_AGAIN)) for v in known]
    tried = {_found(c.trigger) for c in confirmed}
    left = [c for c in candidates if _found(c) not in tried]
    values += [(_found(c), min(v, NOT_SEARCHED_AGAIN)) for c in left for v in _margins(alarms, c, c.metrics)]
    for s in statistics:
        about = (s.detector, s.target.index if s.target else None, tuple(label.index for label in s.sources))
        values += [
            (about, margin(r, {"value": s.value})) for r in alarms if r.statistic == s.name and s.value is not None
        ]
    out: dict[Found, float] = {}
    for key, value in values:
        out[key] = max(out.get(key, 0.0), min(value, LARGEST))
    return out


def score(found: Mapping[Found, float]) -> float | None:
    """Of a model; None where nothing was measured that a rule which alarms is about.

    It orders models, for calibration and for curves of error rates; the verdict is the rules'.
    """
    return max(found.values(), default=None)


def families_of(detectors: Iterable[Detector]) -> frozenset[str]:
    """The families that these detectors may leave margins of."""
    names = (detector.about.name.removeprefix("inversion.") for detector in detectors)
    return frozenset("pair" if name in {"pairs", "lean"} else name for name in names)


def _found(trigger: Candidate) -> Found:
    return "pair" if trigger.sources else trigger.family, trigger.target, trigger.sources


def _margins(alarms: Sequence[Rule], trigger: Candidate, metrics: Mapping[str, float]) -> list[float]:
    """Of each rule that is about such triggers."""
    return [margin(rule, metrics) for rule in alarms if applies(rule, trigger.family, not trigger.sources)]
