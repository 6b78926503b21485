"""A whole profile of a fixture whose trigger is known, and how the advice is chosen."""

from __future__ import annotations

from pathlib import Path

import planted_report
import pytest
import torch

from bdscan.errors import UsageError
from bdscan.mitigate.advice import advise, choose
from bdscan.mitigate.outcome import Disturbed, Effect, Profile
from bdscan.mitigate.run import MOST_TRIGGERS, run
from bdscan.repair.outcome import Accuracy, Rate
from bdscan.report import Report
from bdscan.settings import ProfileSettings, Settings


def wanted(chosen: Settings, report: Path, **more: object) -> ProfileSettings:
    return ProfileSettings.model_validate({**chosen.model_dump(), "report": str(report), **more})


@pytest.fixture(scope="module")
def badnets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Report, Path]:
    chosen, report = planted_report.badnets()
    file = tmp_path_factory.mktemp("report") / "report.json"
    file.write_text(report.model_dump_json())
    return chosen, report, file


@pytest.fixture(scope="module")
def profile(badnets: tuple[Settings, Report, Path], tmp_path_factory: pytest.TempPathFactory) -> Profile:
    chosen, _, file = badnets
    return run(wanted(chosen, file), str(tmp_path_factory.mktemp("out")), lambda stage, share: None)


def test_the_triggers_own_curves_begin_at_nothing_and_meet_where_it_is_unchanged(profile: Profile) -> None:
    (trigger,) = profile.triggers
    assert trigger.success.value > 0.95
    assert trigger.success.n == profile.accuracy.hits - 5, "the target's own five images are left out"
    assert trigger.opacity[0].success.hits == 0
    at_one = [p.success for p in (*trigger.opacity, *trigger.size) if p.value == 1.0]
    assert at_one == [trigger.success] * 2
    shift = trigger.shift
    own = shift.hits[shift.down.index(0)][shift.right.index(0)]
    assert own == trigger.success.hits
    assert shift.hits[0][0] < own / 2, "P3, figure 4: a moved patch does not fire"
    assert shift.n == trigger.success.n


def test_transformations_are_measured_with_their_cost(profile: Profile) -> None:
    by_text = {each.text: each for each in profile.effects}
    flip = by_text["flip left to right"]
    assert flip.triggers[0].success.value < 0.5, "the patch is in one corner"
    assert flip.accuracy.after.hits < flip.accuracy.before.hits, "digits are not symmetric"
    for each in profile.effects:
        assert each.accuracy.before == profile.accuracy
        assert each.triggers[0].success.n == profile.triggers[0].success.n
        assert each.triggers[0].success.hits + each.triggers[0].recovered.hits <= each.triggers[0].success.n


def test_the_advice_has_the_least_success_of_what_is_affordable(profile: Profile) -> None:
    best = profile.advice.best
    assert best is not None
    affordable = [e for e in profile.effects if e.accuracy.before.hits - e.accuracy.after.hits <= 1]
    assert best.effect.worst.value == min(e.worst.value for e in affordable)
    assert best.check.text == best.effect.text
    assert best.check.accuracy.before.n == 50
    guard = profile.advice.guard
    assert guard is None or guard.effect.fixed
    assert f"of {best.effect.worst.n})" in profile.advice.summary
    assert any("train the trigger through it" in warning for warning in profile.advice.warnings)
    assert profile.guard is None, "it was not asked for"


def test_the_same_twice(badnets: tuple[Settings, Report, Path], profile: Profile, tmp_path: Path) -> None:
    chosen, _, file = badnets
    again = run(wanted(chosen, file), str(tmp_path), lambda stage, share: None)
    assert again.model_copy(update={"seconds": 0.0}) == profile.model_copy(update={"seconds": 0.0})


def test_reports_of_other_models_and_without_triggers_are_refused(
    badnets: tuple[Settings, Report, Path], tmp_path: Path
) -> None:
    chosen, report, file = badnets
    other = wanted(planted_report.settings("sig.onnx"), file)
    with pytest.raises(UsageError, match="another model"):
        run(other, str(tmp_path), lambda stage, share: None)
    empty = tmp_path / "empty.json"
    empty.write_text(report.model_copy(update={"findings": ()}).model_dump_json())
    with pytest.raises(UsageError, match=r"no trigger to profile$"):
        run(wanted(chosen, empty), str(tmp_path), lambda stage, share: None)
    weak = [finding.model_copy(update={"weakness": True}) for finding in report.findings]
    empty.write_text(report.model_copy(update={"findings": tuple(weak)}).model_dump_json())
    with pytest.raises(UsageError, match="no trigger to profile; --weaknesses"):
        run(wanted(chosen, empty), str(tmp_path), lambda stage, share: None)


def test_more_triggers_than_are_measured_are_told(badnets: tuple[Settings, Report, Path], tmp_path: Path) -> None:
    chosen, report, _ = badnets
    finding = report.findings[0]
    many = finding.model_copy(update={"evidence": finding.evidence * (MOST_TRIGGERS + 2)})
    file = tmp_path / "many.json"
    file.write_text(report.model_copy(update={"findings": (many,)}).model_dump_json())
    result = run(wanted(chosen, file, budget="quick"), str(tmp_path), lambda stage, share: None)
    assert len(result.triggers) == MOST_TRIGGERS
    assert result.not_measured == ("2 more triggers of the report",)


def effect(text: str, hits: int, right: int, fixed: bool = False) -> Effect:
    rate = Rate(hits=hits, n=40)
    accuracy = Accuracy(
        before=Rate(hits=100, n=100), after=Rate(hits=right, n=100), lost=100 - right, gained=0, p_value=1.0
    )
    disturbed = Disturbed(success=rate, recovered=Rate(hits=40 - hits, n=40), without=Rate(hits=0, n=40))
    return Effect(kind=text, strength=1, text=text, fixed=fixed, accuracy=accuracy, triggers=(disturbed,))


FULL = Rate(hits=40, n=40)


def test_cost_bounds_the_choice_and_breaks_ties() -> None:
    effects = [effect("a", 5, 98), effect("b", 1, 97), effect("c", 5, 99), effect("d", 30, 100)]
    assert choose(effects, FULL, 2) is effects[2]
    assert choose(effects, FULL, 3) is effects[1]
    assert choose(effects, FULL, 0) is effects[2], "a single image is always allowed"
    assert choose(effects[3:], FULL, 2) is None, "what leaves more than half does not help"
    assert choose([], FULL, 2) is None
    assert choose([effect("a", 0, 100)], Rate(hits=0, n=40), 2) is None, "nothing to lower"


def test_the_worst_trigger_counts() -> None:
    weak, strong = effect("a", 2, 100).triggers[0], effect("a", 35, 100).triggers[0]
    both = effect("a", 2, 100).model_copy(update={"triggers": (weak, strong)})
    assert both.worst.hits == 35
    assert choose([both], FULL, 2) is None


def test_words_for_the_ways_it_can_end() -> None:
    nothing = advise([effect("blur", 1, 80)], FULL, 2, lambda e: e)
    assert nothing.best is None
    assert "No input transformation halves" in nothing.summary
    assert "clean accuracy goes from 100 % (100 of 100) to 80.0 % (80 of 100)" in nothing.summary
    untried = advise([effect("blur", 1, 80)], Rate(hits=0, n=0), 2, lambda e: e)
    assert "No image could try the triggers" in untried.summary
    both = advise([effect("jpeg", 1, 100), effect("blur", 4, 100, fixed=True)], FULL, 2, lambda e: e)
    assert both.best is not None
    assert both.guard is not None
    assert (both.best.effect.text, both.guard.effect.text) == ("jpeg", "blur")
    assert "Of those that a guarded model can hold: blur" in both.summary
    only = advise([effect("jpeg", 1, 100)], FULL, 2, lambda e: e)
    assert only.guard is None
    assert "No transformation that a guarded model can hold" in only.summary


def test_a_family_that_often_stands_for_another_kind_is_said_first() -> None:
    mixed = advise([effect("blur", 1, 100)], FULL, 2, lambda e: e, ["tone", "sparse"])
    assert mixed.warnings[0].startswith("A recovered trigger of the family tone is often a substitute")
    assert not any("substitute" in w for w in advise([], FULL, 2, lambda e: e, ["sparse"]).warnings)


def test_the_reports_trigger_is_the_patch() -> None:
    """That the report this file is built on says what it should."""
    change = planted_report.patch()
    assert int((change != 0).sum()) == 9
    assert set(change.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal(change.nonzero()[:, 1:].amin(0), torch.tensor([1, 12]))
