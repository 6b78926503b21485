"""The score of a model: 1 and more exactly where a rule alarms, and below it the nearer the higher."""

from __future__ import annotations

import math

import pytest

from bdscan.detectors.confirmation import INTENSITIES, Confirmation, Repeat
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.registry import chosen
from bdscan.report import Statistic
from bdscan.rules import MOST_OF_ONE, NEARLY, Rule, fires, for_trigger, margin
from bdscan.score import NOT_SEARCHED_AGAIN, families_of, margins, score

COMMON = {"severity": "low", "message": "m", "remedy": "r", "title": "t"}
ALARM = Rule.model_validate(
    COMMON
    | {
        "id": "A",
        "about": "trigger",
        "families": ["sparse"],
        "when": [
            {"index/critical": {"min": 1.0}, "ratio": {"max": 0.5}, "repeat_depth": {"min": 0.2}},
            {"gap": {"max": 0.4}},
        ],
    }
)
WEAK = Rule.model_validate(
    COMMON | {"id": "W", "about": "trigger", "when": [{"ratio": {"max": 0.9}}], "weakness": True}
)
BRANCH = Rule.model_validate(
    COMMON | {"id": "B", "about": "statistic", "statistic": "graph.branches", "when": [{"value": {"min": 1.0}}]}
)


def found(family: str = "sparse", **metrics: float) -> Candidate:
    values = {"index": 8.0, "critical": 4.0, "ratio": 0.25, "gap": 0.8, "labels": 10.0} | metrics
    return Candidate(family, 3, (), {}, 1.0, 1.0, values, lambda images, intensity: images)


def confirmed(trigger: Candidate, ratio: float | None = 0.1) -> Confirmation:
    repeat = None if ratio is None else Repeat(1.0, ratio, 1.0)
    return Confirmation(trigger, 9, 10, (0.5, 1.0), repeat, tuple(0.0 for _ in INTENSITIES), None)


def test_below_one_the_worst_bound_of_the_best_alternative_counts() -> None:
    assert margin(ALARM, {"index": 2.0, "critical": 4.0, "ratio": 0.25, "repeat_depth": 0.3}) == 0.5
    assert margin(ALARM, {"index": -2.0, "critical": 4.0, "ratio": 0.25}) == 0.0


def test_from_one_on_the_bounds_count_together() -> None:
    metrics = {"index": 8.0, "critical": 4.0, "ratio": 0.25, "repeat_depth": 0.3}
    assert margin(ALARM, metrics) == pytest.approx(1 + math.log(2 * 2 * 1.5))
    assert margin(ALARM, metrics | {"gap": 0.04}) == pytest.approx(1 + math.log(10)), "of the other alternative"
    assert margin(ALARM, metrics | {"gap": 0.0}) == 1 + MOST_OF_ONE, "of one bound"
    just = {"index": 4.0, "critical": 4.0, "ratio": 0.5, "repeat_depth": 0.2}
    assert margin(ALARM, just) == 1.0


@pytest.mark.parametrize("ratio, fired, value", [(0.4, False, NEARLY), (0.2, True, 1.0), (0.1, True, 1 + math.log(2))])
def test_a_bound_on_the_evidence_is_on_all_others_together(ratio: float, fired: bool, value: float) -> None:
    """Both bounds hold throughout; with ratio 0.2 the logarithms add up to that of 5."""
    bounds = {"ratio": {"max": 0.5}, "index": {"min": 2.0}, "evidence": {"min": math.log(5) - 1e-9}}
    one = Rule.model_validate(COMMON | {"id": "E", "about": "trigger", "when": [bounds]})
    metrics = {"ratio": ratio, "index": 4.0}
    assert fires(one, metrics) == fired
    assert margin(one, metrics) == pytest.approx(value)
    assert not fires(one, {"ratio": ratio}), "what was not measured is no evidence"
    assert fires(one, {"ratio": ratio}, so_far=True), "and none against it"


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.62, 0.64, 0.9, 1.5])
@pytest.mark.parametrize("change", [{}, {"index": 3.9}, {"ratio": 0.51}, {"gap": 0.39}, {"gap": 0.41}])
def test_it_is_one_exactly_where_the_rule_fires(ratio: float, change: dict[str, float]) -> None:
    one = confirmed(found(**change), ratio)
    fired = for_trigger((ALARM,), "sparse", True, one.metrics) is not None
    value = score(margins((ALARM, WEAK), [one], [], []))
    assert value is not None
    assert (value >= 1) == fired


def test_without_a_second_search_it_stays_below_one() -> None:
    assert score(margins((ALARM,), [], [found()], [])) == NOT_SEARCHED_AGAIN
    assert score(margins((ALARM,), [confirmed(found(), None)], [], [])) == NOT_SEARCHED_AGAIN
    assert score(margins((ALARM,), [], [found(ratio=1.0)], [])) == 0.5


def test_what_a_second_search_refuted_no_longer_counts_with_the_first() -> None:
    one, other = found(), found(ratio=0.5)
    assert score(margins((ALARM,), [], [one], [])) == NOT_SEARCHED_AGAIN
    assert score(margins((ALARM,), [confirmed(one, 0.95)], [one], [])) == 0.5, "of the other alternative, the gap"
    elsewhere = Candidate("sparse", 5, (), {}, 1.0, 1.0, other.metrics, other.stamp)
    assert score(margins((ALARM,), [confirmed(one, 0.95)], [one, elsewhere], [])) == NOT_SEARCHED_AGAIN


def test_weaknesses_and_other_families_do_not_count() -> None:
    assert score(margins((WEAK,), [confirmed(found())], [], [])) is None
    assert score(margins((ALARM,), [confirmed(found(family="warp"))], [found(family="warp")], [])) is None


def test_a_statistic_with_a_rule_counts_and_nothing_measured_is_no_score() -> None:
    branches = Statistic(name="graph.branches", detector="graph", value=2.0, description="d")
    other = Statistic(name="graph.nodes", detector="graph", value=50.0, description="d")
    assert score(margins((ALARM, BRANCH), [], [], [branches, other])) == 1 + math.log(2)
    assert score(margins((ALARM, BRANCH), [], [], [other])) is None


def test_it_is_a_number_that_json_can_hold() -> None:
    assert score(margins((ALARM,), [confirmed(found(gap=0.0))], [], [])) == 1 + MOST_OF_ONE


def test_families_targets_and_pairs_are_apart_and_the_best_of_each_counts() -> None:
    universal, other = confirmed(found()), found(ratio=1.0)
    near = margins((ALARM, BRANCH), [universal], [found(), other], [])
    assert set(near) == {("sparse", 3, ())}
    assert near["sparse", 3, ()] == score(margins((ALARM,), [universal], [], []))


def test_families_that_detectors_leave_margins_of() -> None:
    assert families_of(chosen(("pairs", "graph", "inversion.sparse", "inversion.dark"))) == {
        "pair",
        "graph",
        "sparse",
        "dark",
    }
