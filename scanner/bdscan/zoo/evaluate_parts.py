"""Of the same surveys: each detector alone, without each, published detectors beside ours, and calibration that has
never seen a data set or an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bdscan.calibration import TELLING, rank_p_value
from bdscan.zoo.rates import auc, is_alarm, score, share, split
from bdscan.zoo.survey import Row

MARGIN = ".margin"
LEVEL = 0.05
Numbers = Mapping[str, float]


def margins(row: Row) -> dict[str, float]:
    """Family -> the largest margin of an alarm among its triggers."""
    return _largest(row, lambda name: name.endswith(MARGIN), lambda name: name.removesuffix(MARGIN))


def telling(row: Row) -> dict[str, float]:
    """The largest of each statistic that grows with suspicion."""
    return _largest(row, lambda name: name.endswith(TELLING), lambda name: name)


def _largest(row: Row, wanted: Callable[[str], bool], key: Callable[[str], str]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, _, _, value in row.get("statistics") or []:
        if wanted(name) and value is not None:
            out[key(name)] = max(out.get(key(name), value), value)
    return out


def families(clean: Sequence[Row], bad: Sequence[Row]) -> dict[str, Any]:
    """Each family's alarms alone, and all others' without it.

    What confirmation settles changes what later stages look at; a network scanned without a family could differ.
    """

    def alone(row: Row, name: str) -> float:
        return margins(row).get(name, 0.0)

    def without(row: Row, name: str) -> float:
        return max((value for family, value in margins(row).items() if family != name), default=0.0)

    names = sorted({name for row in [*clean, *bad] for name in margins(row)})
    return {
        name: {
            "alone": _by(clean, bad, name, alone),
            "without": _by(clean, bad, name, without),
            "only_by_it": sum(_only(row, name) for row in bad),
        }
        for name in names
    }


def _only(row: Row, name: str) -> bool:
    return {k for k, v in margins(row).items() if v >= 1} == {name}


def _by(clean: Sequence[Row], bad: Sequence[Row], name: str, value: Callable[[Row, str], float]) -> dict[str, Any]:
    """Rates of the rule that a network's value for a family is at least 1."""
    one, other = ([value(row, name) for row in rows] for rows in (clean, bad))
    return {"auc": auc(one, other), "false_alarms": share(v >= 1 for v in one), "found": share(v >= 1 for v in other)}


def statistics(clean: Sequence[Row], bad: Sequence[Row]) -> dict[str, float | None]:
    """Area under the curve of each statistic's largest value in a network; zero where it was not measured."""
    one, other = [telling(row) for row in clean], [telling(row) for row in bad]
    names = sorted({name for values in [*one, *other] for name in values})
    return {name: auc([v.get(name, 0.0) for v in one], [v.get(name, 0.0) for v in other]) for name in names}


def baselines(clean: Sequence[Row], bad: Sequence[Row]) -> dict[str, Any]:
    """Published detectors by their papers' rules, and ours on the same networks."""
    clean, bad = ([row for row in rows if row.get("baselines")] for rows in (clean, bad))
    if not clean and not bad:
        return {}
    names = sorted(set.intersection(*(set(row["baselines"]) for row in [*clean, *bad])))
    ours = {
        "auc": auc([score(row) for row in clean], [score(row) for row in bad]),
        "false_alarms": share(is_alarm(row) for row in clean),
        "found": share(is_alarm(row) for row in bad),
        "right_target": share(row["right"] for row in bad if is_alarm(row)),
    }
    return {"bdscan": ours} | {name: _baseline(clean, bad, name) for name in names}


def _baseline(clean: Sequence[Row], bad: Sequence[Row], name: str) -> dict[str, Any]:
    one, other = ([row["baselines"][name] for row in rows] for rows in (clean, bad))
    named = [v["target"] in row["targets"] for v, row in zip(other, bad, strict=True) if v["alarm"]]
    return {
        "auc": auc([v["score"] for v in one], [v["score"] for v in other]),
        "false_alarms": share(v["alarm"] for v in one),
        "found": share(v["alarm"] for v in other),
        "right_target": share(named),
    }


def found_by_attack(bad: Sequence[Row], by: Callable[[Row], str]) -> dict[str, dict[str, Any]]:
    """How many networks of each attack ours and each published detector find, of those that have all their answers."""
    bad = [row for row in bad if row.get("baselines")]
    names = sorted(set.intersection(*(set(row["baselines"]) for row in bad))) if bad else []
    return {
        group: {"bdscan": share(is_alarm(row) for row in rows)}
        | {name: share(row["baselines"][name]["alarm"] for row in rows) for name in names}
        for group, rows in split(bad, by).items()
    }


def unseen(
    references: Sequence[Row], clean: Sequence[Row], bad: Sequence[Row], by: Callable[[Row], str]
) -> dict[str, Any]:
    """Networks of each group with p <= LEVEL, by all references and by those of the other groups."""
    scores = [(by(row), score(row)) for row in references]
    everything = [s for _, s in scores]
    out = {}
    for group, rows in sorted(split(clean, by).items()):
        others, found = [s for name, s in scores if name != group], [row for row in bad if by(row) == group]
        out[group] = {
            "all": _below(everything, rows),
            "others": _below(others, rows),
            "found_all": _below(everything, found),
            "found_others": _below(others, found),
            "references": len(scores) - len(others),
        }
    return out


def _below(references: Sequence[float], rows: Sequence[Row]) -> dict[str, Any]:
    return share(rank_p_value(references, score(row)) <= LEVEL for row in rows)
