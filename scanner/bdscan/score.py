"""One number for a model: how near anything that was measured comes to an alarm. 1 and more is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bdscan.detectors.confirmation import Confirmation
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.report import Statistic
from bdscan.rules import Rule, applies, margin

LARGEST = 100.0
NOT_SEARCHED_AGAIN = 0.99  # at most: without a second search there is no alarm


def score(
    rules: Sequence[Rule],
    confirmed: Iterable[Confirmation],
    candidates: Iterable[Candidate],
    statistics: Iterable[Statistic],
) -> float | None:
    """The largest margin of a rule that alarms; None where nothing was measured that such a rule is about.

    It orders models, for calibration and for curves of error rates; the verdict is the rules'.
    """
    alarms = [rule for rule in rules if not rule.weakness]
    values: list[float] = []
    for c in confirmed:
        best = _margin(alarms, c.trigger, c.metrics)
        values.append(best if c.repeat is not None else min(best, NOT_SEARCHED_AGAIN))
    values += [min(_margin(alarms, c, c.metrics), NOT_SEARCHED_AGAIN) for c in candidates]
    for s in statistics:
        values += [margin(r, {"value": s.value}) for r in alarms if r.statistic == s.name and s.value is not None]
    return min(max(values), LARGEST) if values else None


def _margin(alarms: Sequence[Rule], trigger: Candidate, metrics: Mapping[str, float]) -> float:
    about = [margin(rule, metrics) for rule in alarms if applies(rule, trigger.family, not trigger.sources)]
    return max(about, default=0.0)
