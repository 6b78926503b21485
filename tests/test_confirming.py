"""Confirmation as a stage: what is looked at again, in what order, and what an error leaves standing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "detectors"))
from planted import TARGET, planted_trigger, source_specific, subject

from bdscan import confirming as stage
from bdscan.detectors import crossed, standout
from bdscan.detectors.interface import Budget, Measurement
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.rules import Rule
from bdscan.stages import Story

COMMON = {"severity": "high", "about": "trigger", "scope": "pair", "message": "{target}", "remedy": "r"}
OLD = {"id": "OLD", "title": "t", "when": [{"contrast": {"min": 6.0}, "repeat_ratio": {"max": 0.5}}]}
NEW = {
    "id": "NEW",
    "title": "t",
    "needs": {"images": {"min": 2}},
    "when": [{"contrast": {"min": 2.0}, "lead": {"min": 0.5}, "other_lead": {"min": 0.5}, "other_ratio": {"max": 0.5}}],
}
LEAN = {"id": "LEAN", "title": "t", "when": [{"lean": {"min": 2.0}, "lead": {"min": 0.5}}]}


def rules(*some: dict) -> tuple[Rule, ...]:
    return tuple(Rule.model_validate(COMMON | one) for one in some)


def pair(source: int, contrast: float = 3.0, **metrics: float) -> Candidate:
    return planted_trigger((source,), contrast=contrast, **metrics)


def run(some: tuple[Rule, ...], *found: Candidate, lean: tuple[Candidate, ...] = ()) -> stage.Confirming:
    toy = source_specific()
    story = Story(measured={"pairs": Measurement((), candidates=found), "lean": Measurement((), candidates=lean)})
    one = stage.Confirming(story, toy, toy, some, Budget("standard"), lambda *_: None)
    one.pairs()
    return one


def searched(one: stage.Confirming) -> dict[int, set[str]]:
    return {c.trigger.sources[0]: set(c.metrics) for c in one.story.confirmed}


def test_a_pair_that_does_not_lead_gets_no_second_search() -> None:
    """The planted pixel works on class 1 alone."""
    one = run(rules(NEW), pair(0), pair(1), pair(2))
    assert set(searched(one)) == {1}
    assert {"lead", "other_lead", "repeat_ratio", "other_ratio"} <= searched(one)[1]
    assert not one.error
    refuted = next(c for c in one.candidates() if c.sources == (0,))
    assert refuted.metrics["lead"] < 0.5, "what refuted it stays known"
    assert "other_lead" not in refuted.metrics


def test_a_rule_that_reads_no_lead_is_served_as_before() -> None:
    one = run(rules(OLD), pair(0, 9.0), pair(1, 9.0))
    assert set(searched(one)) == {0, 1}
    assert not any({"lead", "other_ratio", "images"} & metrics for metrics in searched(one).values())


def test_the_other_half_is_asked_only_where_an_alarm_still_hangs_on_it() -> None:
    """No bounds to confirm: the older rule settles the pair by itself."""
    one = run(rules(OLD, NEW), pair(1, 9.0))
    assert "lead" in searched(one)[1]
    assert "other_ratio" not in searched(one)[1]


@pytest.mark.parametrize("name", ["with_leads", "search_other_half"])
def test_an_error_in_what_is_new_takes_nothing_that_was_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of\nluck")

    monkeypatch.setattr(crossed, name, fail)
    one = run(rules(OLD, NEW), pair(1, 9.0))
    assert one.error == "RuntimeError: out of luck"
    assert searched(one)[1] >= {"repeat_ratio"}


def test_a_pair_that_two_stages_found_is_one_with_the_figures_of_both() -> None:
    one = run(rules(LEAN), pair(1, 3.0), lean=(pair(1, 0.0, lean=4.0), pair(2, 0.0, lean=3.0)))
    both, alone = sorted((c for c in one.candidates()), key=lambda c: c.sources)
    assert (both.sources, both.metrics["contrast"], both.metrics["lean"]) == ((1,), 3.0, 4.0)
    assert (alone.sources, alone.metrics["contrast"]) == ((2,), 0.0)
    assert set(searched(one)) == {1}, "the other does not lead"


def test_triggers_from_every_class_are_not_driven() -> None:
    """A rule of the user's own may read a lead and say nothing of scope."""
    of_any = Rule.model_validate({**COMMON, **NEW, "scope": None, "when": [{"lead": {"min": 0.5}}]})
    any_source = replace(pair(1), sources=())
    one = run((of_any,), pair(1))
    (left,) = crossed.with_leads(one.subject, one.searching.classifier, [any_source], one.budget, one._hangs_on)
    assert left is any_source


UNIVERSAL = COMMON | {"scope": "universal"}
SMALL = UNIVERSAL | {"id": "SMALL", "title": "t", "when": [{"ratio": {"max": 0.3}, "repeat_ratio": {"max": 0.5}}]}
PATCH = UNIVERSAL | {
    "id": "PATCH",
    "title": "t",
    "when": [{"ratio": {"max": 0.6}, "repeat_ratio": {"max": 0.6}, "lead": {"min": 0.8}, "other_lead": {"min": 0.8}}],
}


def everywhere(some: tuple[dict, ...], *found: Candidate, planted: float = 30.0) -> stage.Confirming:
    toy = subject(planted)
    story = Story(measured={"inversion.sparse": Measurement((), candidates=found)})
    chosen = tuple(Rule.model_validate(one) for one in some)
    one = stage.Confirming(story, toy, toy, chosen, Budget("standard"), lambda *_: None)
    one.universal()
    assert not one.error
    return one


def universal(ratio: float, target: int = TARGET) -> Candidate:
    return replace(planted_trigger((), ratio=ratio, index=9.0, critical=4.0), target=target)


def leading(one: stage.Confirming) -> dict[int, set[str]]:
    return {c.trigger.target: {"lead", "other_lead"} & set(c.metrics) for c in one.story.confirmed}


def test_a_patch_is_driven_where_an_alarm_hangs_on_it() -> None:
    assert leading(everywhere((PATCH,), universal(0.5))) == {TARGET: {"lead", "other_lead"}}
    assert leading(everywhere((SMALL,), universal(0.5))) == {}
    assert leading(everywhere((SMALL, PATCH), universal(0.2))) == {TARGET: set()}, "planted as it is"
    assert leading(everywhere((PATCH,), universal(0.5, target=1))) == {1: set()}, "it did not come back"


def test_several_alarms_are_held_to_each_other() -> None:
    loose = SMALL | {"when": [{"ratio": {"max": 0.3}}]}
    both = {"lead", "other_lead"}
    assert leading(everywhere((loose,), universal(0.2), universal(0.1, target=1))) == {TARGET: both, 1: both}
    assert leading(everywhere((loose,), universal(0.2))) == {TARGET: set()}


def test_an_error_while_a_patch_is_driven_takes_nothing_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(standout, "with_leads", fail)
    story = Story(measured={"inversion.sparse": Measurement((), candidates=(universal(0.2),))})
    some = (Rule.model_validate(SMALL),)
    one = stage.Confirming(story, subject(), subject(), some, Budget("standard"), lambda *_: None)
    one.universal()
    assert one.error == "RuntimeError: out of luck"
    assert [c.trigger.target for c in one.story.confirmed] == [TARGET]
