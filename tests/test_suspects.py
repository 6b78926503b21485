"""Which triggers are looked at again: what a second search can still turn into an alarm; the rest is only tried out."""

from __future__ import annotations

from bdscan import suspects
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.rules import Rule

COMMON = {"severity": "low", "about": "trigger", "message": "{target}", "remedy": "r"}
RULES = tuple(
    Rule.model_validate(COMMON | r)
    for r in (
        {"id": "A", "title": "alarm", "when": [{"index": {"min": 5.0}, "repeat_depth": {"min": 0.2}}]},
        {"id": "W", "title": "weak", "when": [{"index": {"min": 2.0}}], "weakness": True},
    )
)


def found(index: float, target: int = 0, ratio: float = 0.1, sources: tuple[int, ...] = ()) -> Candidate:
    values = {"index": index, "critical": 4.0, "ratio": ratio, "contrast": index}
    return Candidate("sparse", target, sources, {}, 1.0, 1.0, values, lambda images, intensity: images)


def test_only_what_may_become_an_alarm_is_searched_again_most_suspicious_first() -> None:
    strong, alarm, weak, ordinary = found(20.0), found(8.0, 1), found(3.0, 2), found(0.1, 3)
    assert suspects.alarming(RULES, [ordinary, weak, alarm, strong]) == [strong, alarm]
    many = [found(8.0 + i, i) for i in range(20)]
    assert len(suspects.alarming(RULES, many)) == suspects.MOST_ALARMS


def test_a_rule_for_weaknesses_that_reads_the_second_search_gets_one() -> None:
    reads = Rule.model_validate(
        COMMON | {"id": "R", "title": "t", "when": [{"repeat_ratio": {"max": 0.9}}], "weakness": True}
    )
    one = found(0.1)
    assert suspects.alarming((reads,), [one]) == [one]


def test_weaknesses_are_of_other_targets_than_the_alarms_and_few() -> None:
    alarm = found(8.0, 1)
    candidates = [alarm, found(4.0, 1), found(3.0, 2), found(2.5, 2), found(2.8, 4), found(2.7, 5)]
    some = suspects.weak(RULES, candidates, [alarm])
    assert [c.target for c in some] == [2, 4]
    assert some[0].metrics["index"] == 3.0
    assert len(some) == suspects.MOST_WEAKNESSES


def test_if_nothing_is_suspicious_the_most_suspicious_is_tried_all_the_same() -> None:
    ordinary, less = found(0.2, 1), found(0.1, 2)
    assert suspects.weak(RULES, [less, ordinary], []) == [ordinary]
    assert suspects.weak(RULES, [less, ordinary], [found(9.0)]) == []
    assert suspects.weak(RULES, [], []) == []


def test_suspicion_needs_both_a_high_index_and_a_small_size() -> None:
    plain = suspects.suspicion(found(9.0))
    assert suspects.suspicion(found(0.1)) < plain
    assert suspects.suspicion(found(9.0, ratio=1.0)) < plain
    assert suspects.suspicion(found(12.0, sources=(1,))) > suspects.suspicion(found(6.0, sources=(1,)))
