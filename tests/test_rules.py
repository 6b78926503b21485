"""Rules as data: bounds, missing metrics, files that are wrong, what ships, and the verdict table."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from bdscan.detectors.inversion.families import FAMILIES
from bdscan.errors import UsageError
from bdscan.report import Confidence, Finding, Severity, Verdict
from bdscan.resources import resource
from bdscan.rules import (
    UNCALIBRATED,
    Bound,
    Rule,
    confidence_of,
    decide,
    describe_rules,
    fires,
    for_trigger,
    holds,
    load_rules,
    margin,
    may_read,
)

SHIPPED = load_rules(resource("rules"))
RULE = """version = 1
[[rule]]
id = "{id}"
title = "{title}"
severity = "low"
about = "trigger"
when = [{{ index = {{ min = 2.0 }} }}]
message = "m"
remedy = "r"
{more}
"""


def rule(**changes: object) -> Rule:
    plain = {
        "id": "T1",
        "title": "t",
        "severity": "high",
        "about": "trigger",
        "when": [{"index": {"min": 2.0}}],
        "message": "m",
        "remedy": "r",
    }
    return Rule.model_validate(plain | changes)


def write(path: Path, id: str = "OWN1", title: str = "mine", more: str = "") -> str:
    path.write_text(RULE.format(id=id, title=title, more=more))
    return str(path)


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bound, inside, outside",
    [
        (Bound(min=1.0), (1.0, 1e9), (0.999, -1.0)),
        (Bound(max=1.0), (1.0, -1e9), (1.001,)),
        (Bound(min=-1.0, max=1.0), (-1.0, 0.0, 1.0), (-1.01, 1.01)),
        (Bound(), (0.0, -1e300), ()),
    ],
)
def test_bounds_are_inclusive(bound: Bound, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    assert all(bound.holds(v) for v in inside)
    assert not any(bound.holds(v) for v in outside)
    assert bound == Bound() or not bound.holds(float("nan"))


def test_all_bounds_of_a_set_must_hold_and_any_set_will_do() -> None:
    one = {"index": Bound(min=2.0), "ratio": Bound(max=0.5)}
    assert holds(one, {"index": 3.0, "ratio": 0.4})
    assert not holds(one, {"index": 3.0, "ratio": 0.6})
    either = rule(when=[{"index": {"min": 2.0}}, {"ratio": {"max": 0.1}}])
    assert fires(either, {"index": 3.0, "ratio": 0.9})
    assert fires(either, {"index": 0.0, "ratio": 0.1})
    assert not fires(either, {"index": 1.0, "ratio": 0.2})


def test_a_slash_names_the_ratio_of_two_metrics() -> None:
    bounds = {"index/critical": Bound(min=1.0)}
    assert holds(bounds, {"index": 4.0, "critical": 4.0})
    assert not holds(bounds, {"index": 3.9, "critical": 4.0})


@pytest.mark.parametrize("metrics", [{}, {"index": 9.0}, {"critical": 1.0}])
def test_what_was_not_measured_holds_no_bound_but_speaks_against_none_so_far(metrics: dict[str, float]) -> None:
    bounds = {"index/critical": Bound(min=1.0)}
    assert not holds(bounds, metrics)
    assert holds(bounds, metrics, so_far=True)
    later = {"index": Bound(min=2.0), "asr": Bound(min=0.75)}
    assert holds(later, {"index": 3.0}, so_far=True)
    assert not holds(later, {"index": 1.0}, so_far=True)
    assert not holds(later, {"index": 3.0})


# --- which rule speaks for a trigger ----------------------------------------------------------------------------------


def test_the_first_rule_that_fires_counts() -> None:
    strict, loose = rule(id="A", when=[{"index": {"min": 5.0}}]), rule(id="B")
    assert for_trigger([strict, loose], "sparse", True, {"index": 6.0}) == strict
    assert for_trigger([strict, loose], "sparse", True, {"index": 3.0}) == loose
    assert for_trigger([strict, loose], "sparse", True, {"index": 1.0}) is None


def test_family_and_scope_restrict_a_rule() -> None:
    metrics = {"index": 9.0}
    of_dense = rule(families=["dense", "tone"])
    assert for_trigger([of_dense], "tone", True, metrics)
    assert for_trigger([of_dense], "sparse", True, metrics) is None
    pair, every = rule(scope="pair"), rule(scope="universal")
    assert for_trigger([pair, every], "sparse", True, metrics) == every
    assert for_trigger([pair, every], "sparse", False, metrics) == pair
    assert for_trigger([rule(about="statistic", statistic="s")], "sparse", True, metrics) is None


def test_pairs_of_a_few_columns_must_work_on_every_held_out_image_and_be_tiny() -> None:
    """Among 43 classes a clean network's pair worked on four of five, and others on five of five; where all pairs were
    searched four are enough."""
    found = {"contrast": 6.9, "size_ratio": 0.2, "asr": 0.8, "repeat_ratio": 0.19, "asr_low": 0.4}
    tiny = {"size_ratio": 0.04, "repeat_ratio": 0.04}
    cases = (
        ({"searched": 1.0}, True),
        ({"searched": 0.1}, False),
        ({"searched": 0.1, "asr": 1.0}, False),
        ({"searched": 0.1} | tiny, False),
        ({"searched": 0.1, "asr": 1.0} | tiny, True),
    )
    for more, alarms in cases:
        fired = for_trigger(SHIPPED, "sparse", False, found | more)
        assert fired is not None
        assert fired.weakness != alarms


def test_a_pair_far_out_of_a_whole_table_need_not_repeat_as_deep() -> None:
    found = {"contrast": 11.6, "size_ratio": 0.13, "asr": 1.0, "repeat_ratio": 0.3, "asr_low": 0.5, "searched": 1.0}
    for more, alarms in (({}, True), ({"contrast": 5.7}, False), ({"asr": 0.8}, False), ({"searched": 0.1}, False)):
        fired = for_trigger(SHIPPED, "sparse", False, found | more)
        assert fired is not None
        assert fired.weakness != alarms


def test_what_a_rule_needs_is_no_evidence() -> None:
    """How many images there were makes a finding possible, not more likely."""
    one = rule(when=[{"index": {"min": 2.0}, "evidence": {"min": 0.5}}], needs={"images": {"min": 3}})
    plain = rule(when=[{"index": {"min": 2.0}, "evidence": {"min": 0.5}}])
    assert fires(one, {"index": 4.0, "images": 3})
    assert not fires(one, {"index": 4.0, "images": 2})
    assert not fires(one, {"index": 4.0}), "not measured"
    assert fires(one, {"index": 4.0}, so_far=True)
    assert margin(one, {"index": 4.0, "images": 99}) == margin(plain, {"index": 4.0}) > 1
    assert margin(one, {"index": 4.0}) < 1, "not measured, so no alarm"
    assert margin(one, {"index": 4.0, "images": 2}) == 0.0


@pytest.mark.parametrize(
    "metrics, hangs",
    [
        ({"index": 4.0}, True),
        ({}, True),
        ({"index": 1.0}, False),
        ({"index": 4.0, "lead": 0.0}, False),
        ({"index": 4.0, "images": 2}, False),
    ],
)
def test_a_metric_is_asked_for_where_an_alarm_hangs_on_it(metrics: dict[str, float], hangs: bool) -> None:
    when = [{"index": {"min": 2.0}, "lead": {"min": 1.0}}]
    reads = rule(when=when, needs={"images": {"min": 3}}, scope="pair")
    assert may_read([reads], "sparse", False, metrics, "lead") == hangs
    assert not may_read([reads], "sparse", True, metrics, "lead"), "of another scope"
    assert not may_read([rule(when=when, weakness=True)], "sparse", False, metrics, "lead"), "a weakness needs no proof"


def test_a_source_specific_trigger_that_few_images_carry_is_known_by_both_halves() -> None:
    """Two of five held-out images are too few for BD105; the other half and the lead speak for it."""
    found = {"contrast": 9.2, "size_ratio": 0.19, "asr": 0.6, "repeat_ratio": 0.31, "searched": 1.0, "lean": 0.0}
    found |= {"classes": 10.0, "images": 4.0}
    crossed = {"lead": 1.2, "other_lead": 1.5, "other_ratio": 0.22}
    assert for_trigger(SHIPPED, "sparse", False, found | crossed).id == "BD108"
    for refuted in ({"lead": 0.2}, {"other_ratio": 0.6}, {"images": 2.0}, {"classes": 7.0}):
        rule_then = for_trigger(SHIPPED, "sparse", False, found | crossed | refuted)
        assert rule_then is None or rule_then.weakness, refuted


def test_a_natural_neighbour_just_inside_every_bound_is_none() -> None:
    """The nearest of twelve clean networks of the tuning set."""
    found = {"contrast": 6.9, "size_ratio": 0.183, "asr": 1.0, "repeat_ratio": 0.56, "searched": 1.0, "lean": 0.0}
    found |= {"classes": 10.0, "images": 5.0, "lead": 1.31, "other_lead": 1.07, "other_ratio": 0.45}
    assert for_trigger(SHIPPED, "sparse", False, found).weakness


def test_a_trigger_just_inside_every_bound_is_none() -> None:
    """As on a clean network of few images: index 3.85, ratio 0.38, success 90 %."""
    edge = {"index": 3.85, "critical": 3.52, "ratio": 0.38, "asr": 0.9, "asr_low": 0.75, "repeat_depth": 0.24}
    edge |= {"repeat_ratio": 0.58, "repeat_asr": 0.9, "moved": 0.1, "recognised": 1.0, "gap": 0.56}
    for changes, alarms in (({}, False), ({"ratio": 0.1, "repeat_depth": 0.5}, True)):
        fired = for_trigger(SHIPPED, "sparse", True, edge | changes)
        assert fired is not None
        assert fired.weakness != alarms


def test_a_light_in_which_half_of_the_images_are_not_recognised_says_nothing() -> None:
    found = {"index": 4.9, "critical": 3.5, "ratio": 0.19, "asr": 0.96, "asr_low": 0.8, "repeat_depth": 0.66}
    found |= {"repeat_ratio": 0.22, "repeat_asr": 0.8, "moved": 0.46, "lead": 2.0, "other_lead": 2.0}
    assert for_trigger(SHIPPED, "bright", True, found | {"recognised": 0.56}) is None
    planted = for_trigger(SHIPPED, "bright", True, found | {"recognised": 0.95})
    assert planted is not None
    assert planted.id == "BD107"


# --- files ------------------------------------------------------------------------------------------------------------


def test_own_rules_extend_the_built_in_ones_and_no_weakness_speaks_before_them(tmp_path: Path) -> None:
    shipped, rules = load_rules(resource("rules")), load_rules(resource("rules"), [write(tmp_path / "own.toml")])
    assert tuple(rule for rule in rules if rule.id != "OWN1") == shipped
    assert [rule.id for rule in rules if not rule.weakness][-1] == "OWN1"
    assert for_trigger(rules, "tone", True, {"index": 9.0, "critical": 1.0, "ratio": 0.5}).id == "OWN1"


def test_a_known_id_replaces_the_rule_in_its_place(tmp_path: Path) -> None:
    shipped = load_rules(resource("rules"))
    rules = load_rules(resource("rules"), [write(tmp_path / "own.toml", id=shipped[0].id)])
    assert [r.id for r in rules] == [r.id for r in shipped]
    assert rules[0].title == "mine"
    assert rules[1:] == shipped[1:]


def test_the_last_of_two_own_files_wins_and_files_are_read_in_order(tmp_path: Path) -> None:
    files = [write(tmp_path / "b.toml", title="first"), write(tmp_path / "a.toml", title="second")]
    assert load_rules(tmp_path / "none", files)[0].title == "second"
    (tmp_path / "shipped").mkdir()
    for name in ("20.toml", "10.toml"):
        write(tmp_path / "shipped" / name, id=name)
    assert [r.id for r in load_rules(tmp_path / "shipped")] == ["10.toml", "20.toml"]


def test_rules_without_references_stand_apart_until_they_have_some(tmp_path: Path) -> None:
    write(tmp_path / "10.toml", id="OLD")
    old = describe_rules(tmp_path)
    (tmp_path / UNCALIBRATED).mkdir()
    new = write(tmp_path / UNCALIBRATED / "20.toml", id="NEW")
    assert [r.id for r in load_rules(tmp_path)] == ["OLD", "NEW"]
    assert [r.id for r in load_rules(tmp_path, calibrated=True)] == ["OLD"]
    assert describe_rules(tmp_path, calibrated=True) == old != describe_rules(tmp_path)
    assert describe_rules(tmp_path, few_classes=True) == old, "it compares classes"
    both = describe_rules(tmp_path)
    Path(new).rename(tmp_path / "20.toml")
    assert describe_rules(tmp_path) == both == describe_rules(tmp_path, calibrated=True), (
        "the lines scanned by it stay valid"
    )


def test_a_disabled_rule_is_gone_a_built_in_one_too(tmp_path: Path) -> None:
    assert load_rules(tmp_path, [write(tmp_path / "own.toml", more="enabled = false")]) == ()
    shipped = load_rules(resource("rules"))
    off = write(tmp_path / "off.toml", id=shipped[0].id, more="enabled = false")
    assert load_rules(resource("rules"), [off]) == shipped[1:]


GOOD = RULE.format(id="A", title="t", more="")
WRONG = {
    "not TOML": (b"version = ", "TOML"),
    "not text": (b"\xff\xfe\x00", "TOML"),
    "empty": (b"", "version"),
    "another version": (GOOD.replace("version = 1", "version = 2").encode(), "version"),
    "no rules": (b"version = 1", "rule"),
    "a rule that is no table": (b"version = 1\nrule = [3]", "rule.0"),
    "a missing field": (GOOD.replace('remedy = "r"', "").encode(), "rule.0.remedy"),
    "an unknown field": ((GOOD + "threshold = 3\n").encode(), "rule.0.threshold"),
    "an unknown severity": (GOOD.replace('"low"', '"dire"').encode(), "rule.0.severity"),
    "an unknown subject": (GOOD.replace('"trigger"', '"weather"').encode(), "rule.0.about"),
    "an unknown scope": ((GOOD + 'scope = "some"\n').encode(), "rule.0.scope"),
    "an unknown bound": (GOOD.replace("min", "least").encode(), "rule.0.when.0.index.least"),
    "a bound that is no number": (GOOD.replace("2.0", '"two"').encode(), "rule.0.when.0.index.min"),
    "a reference without a title": ((GOOD + 'references = [{ url = "u" }]\n').encode(), "rule.0.references.0.title"),
}


@pytest.mark.parametrize("content, words", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_one_line_that_names_file_and_place(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        load_rules(resource("rules"), [str(path)])
    text = str(raised.value)
    assert "\n" not in text
    assert str(path) in text
    assert words in text.replace(str(path), "")


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot read rules file"):
        load_rules(resource("rules"), [str(tmp_path / name)])


# --- what ships -------------------------------------------------------------------------------------------------------


def test_every_shipped_rule_is_complete() -> None:
    folder = resource("rules")
    lines = [line for path in folder.rglob("*.toml") for line in path.read_text().splitlines()]
    ids = [line for line in lines if re.match(r"id\s*=", line)]
    replaced = {r.id for r in load_rules(folder, calibrated=True) if r not in SHIPPED}
    assert len(ids) == len(set(ids)) + len(replaced), "an id that two rules share would silently replace the first"
    for r in SHIPPED:
        assert re.fullmatch(r"BD\d{3}", r.id)
        assert r.references, r.id
        assert r.remedy, r.id
        assert r.when, r.id
        assert all(r.when), f"{r.id}: an empty set of bounds always holds"
        assert set(r.families) <= FAMILIES.keys()
        assert (r.about == "statistic") == (r.statistic is not None)
        r.message.format(family="sparse", target="class 3", sources="class 4", summary="s")


def test_a_rule_that_replaces_an_older_one_alarms_only_where_that_did() -> None:
    """The p-value is by the older one, and would say too little of an alarm that only the newer raises."""
    now = {r.id: r for r in SHIPPED}
    for old in load_rules(resource("rules"), calibrated=True):
        new = now[old.id]
        assert (new.families, new.scope, new.needs, new.weakness) == (old.families, old.scope, old.needs, old.weakness)
        for bounds in new.when:
            assert any(before.items() <= bounds.items() for before in old.when), old.id


def test_shipped_alarms_come_before_weaknesses_which_are_low_and_never_confirmed() -> None:
    assert [r.weakness for r in SHIPPED] == sorted(r.weakness for r in SHIPPED)
    for r in SHIPPED:
        assert (r.severity is Severity.LOW) == r.weakness
        assert not (r.weakness and r.confirmed)


@pytest.mark.parametrize("family", FAMILIES)
def test_shipped_rules_alarm_on_an_extreme_trigger_of_each_family_and_on_no_ordinary_one(family: str) -> None:
    extreme = {"index": 50.0, "critical": 4.0, "ratio": 0.01, "gap": 0.02, "classic_index": 50.0}
    ordinary = {"index": 0.5, "critical": 4.0, "ratio": 0.95, "gap": 0.99, "classic_index": 0.5}
    works = {"asr": 1.0, "moved": 0.01, "asr_low": 0.93, "repeat_ratio": 0.01, "repeat_depth": 1.2, "repeat_asr": 1.0}
    works |= {"recognised": 1.0, "lead": 3.0, "other_lead": 3.0}
    found = for_trigger(SHIPPED, family, True, extreme | works)
    assert found is not None
    assert not found.weakness
    assert holds(found.confirmed, extreme | works)
    assert for_trigger(SHIPPED, family, True, ordinary | works) is None
    fails = {"asr": 0.0, "moved": 0.3, "asr_low": 0.0, "repeat_ratio": 1.0, "repeat_depth": 0.0, "repeat_asr": 0.0}
    doubtful = for_trigger(SHIPPED, family, True, extreme | fails)
    assert doubtful is None or doubtful.weakness or not holds(doubtful.confirmed, extreme | fails)


# --- verdict ----------------------------------------------------------------------------------------------------------


def finding(weakness: bool = False, confirmed: bool = False) -> Finding:
    return Finding(
        rule="T",
        title="t",
        severity=Severity.LOW,
        confidence=Confidence.LOW,
        message="m",
        weakness=weakness,
        confirmed=confirmed,
    )


WEAKNESS, ALARM, CONFIRMED = finding(weakness=True), finding(), finding(confirmed=True)


@pytest.mark.parametrize("could_look", [True, False])
@pytest.mark.parametrize("kinds", [k for n in range(4) for k in itertools.combinations("wac", n)])
def test_verdict_table(kinds: tuple[str, ...], could_look: bool) -> None:
    """Confirmed alarm: backdoor; any alarm: suspicious; neither: clean, but only where everything needed has looked."""
    findings = [{"w": WEAKNESS, "a": ALARM, "c": CONFIRMED}[k] for k in kinds]
    if "c" in kinds:
        expected = Verdict.BACKDOOR
    elif "a" in kinds:
        expected = Verdict.SUSPICIOUS
    else:
        expected = Verdict.CLEAN if could_look else Verdict.INCONCLUSIVE
    for order in itertools.permutations(findings):
        assert decide(order, could_look) is expected


def test_a_weakness_that_claims_to_be_confirmed_still_raises_nothing() -> None:
    assert decide([finding(weakness=True, confirmed=True)], True) is Verdict.CLEAN


def test_confidence_follows_from_weakness_and_confirmation() -> None:
    assert confidence_of(rule(), True) is Confidence.HIGH
    assert confidence_of(rule(), False) is Confidence.MEDIUM
    assert confidence_of(rule(weakness=True), True) is Confidence.LOW
