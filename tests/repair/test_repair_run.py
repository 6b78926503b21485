"""A whole repair of a fixture: written, scanned again, and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bdscan import pipeline
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Scannable
from bdscan.intake.files import digest_of
from bdscan.intake.load import load
from bdscan.repair import measure, mend, rounds
from bdscan.repair import run as repair_run
from bdscan.repair import unlearn as unlearning
from bdscan.repair.outcome import Accuracy, Rate, TriggerEffect
from bdscan.repair.planted import Planted, hides, planted
from bdscan.repair.run import at_least, check_classes, check_images, check_trainable, run
from bdscan.repair.student import student_of
from bdscan.repair.verdict import shortcomings, summary
from bdscan.report import Label, Report, Statistic, TriggerParameters, Verdict
from bdscan.settings import RepairSettings, Settings

FIXTURES = Path(__file__).parents[2] / "fixtures"


def settings(name: str) -> Settings:
    return Settings(model=str(FIXTURES / name), samples=str(FIXTURES / "samples.npz"))


def wanted(name: str, report: Path) -> RepairSettings:
    return RepairSettings(**settings(name).model_dump(), report=str(report), name="new.onnx")


@pytest.fixture(scope="module")
def found() -> Report:
    return pipeline.run(settings("sig.onnx"), lambda stage, share: None)


def test_a_repaired_model_is_written_and_scanned_clean(found: Report, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(found.model_dump_json())
    result = run(wanted("sig.onnx", report), str(tmp_path), lambda stage, share: None)
    assert result.outcome == "repaired", result.reasons
    assert result.after.verdict is Verdict.CLEAN
    assert result.triggers[0].before.value > 0.9
    assert result.triggers[0].after.value < 0.1
    assert result.accuracy.after.value >= result.accuracy.before.value - 0.04
    assert result.result is not None
    assert (tmp_path / "new.onnx").stat().st_size == result.result.bytes
    assert result.result.sha256 != result.source.sha256
    assert "trigger to class" in result.summary
    assert "it sees less" not in result.summary
    with pytest.raises(UsageError, match="another model"):
        run(wanted("clean-1.onnx", report), str(tmp_path), lambda stage, share: None)


def test_the_weaknesses_of_a_clean_network_are_unlearned_and_its_classes_move_apart(tmp_path: Path) -> None:
    clean = pipeline.run(settings("clean-1.onnx"), lambda stage, share: None)
    assert clean.verdict is Verdict.CLEAN
    (tmp_path / "report.json").write_text(clean.model_dump_json())
    wishes = wanted("clean-1.onnx", tmp_path / "report.json")
    with pytest.raises(UsageError, match="--weaknesses"):
        run(wishes, str(tmp_path), lambda stage, share: None)
    result = run(wishes.model_copy(update={"weaknesses": True}), str(tmp_path), lambda stage, share: None)
    assert result.outcome == "repaired", result.reasons
    assert result.triggers[0].after.value < result.triggers[0].before.value
    assert result.distance is not None
    assert result.distance.pairs == 90
    assert result.distance.after > result.distance.before
    assert result.distance.increase > 0


def test_a_backdoor_that_is_still_there_is_relearned_faster_than_for_other_classes(found: Report) -> None:
    subject = load(settings("sig.onnx")).scannable
    parts = [subject.samples.part(rows) for rows in (subject.samples.search, subject.samples.held_out)]
    probe = measure.relearn(student_of(subject.classifier), planted(found), parts[0], parts[1], 10, 0)
    assert probe.after.value > 0.9
    assert probe.elsewhere is not None
    assert probe.elsewhere.n > 2 * probe.after.n, "three classes"
    assert probe.elsewhere.value < probe.after.value - 0.2
    everywhere = [replace(planted(found)[0], target=c) for c in range(10)]
    none = measure.relearn(student_of(subject.classifier), everywhere, parts[0], parts[1], 10, 0)
    assert none.elsewhere is None


def test_a_rejected_repair_is_set_aside_under_its_own_digests(
    found: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second scan of this one alarms, since training is left out."""
    report = tmp_path / "report.json"
    report.write_text(found.model_dump_json())
    monkeypatch.setattr("bdscan.repair.rounds.unlearn", lambda *given, **options: None)
    result = run(wanted("sig.onnx", report), str(tmp_path), lambda stage, share: None)
    assert result.outcome == "rejected"
    place = tmp_path / "new.onnx.rejected"
    assert not (tmp_path / "new.onnx").exists()
    assert result.result is not None
    assert result.result.sha256 == result.after.subject.files[0].sha256 == digest_of(place, "model").sha256


def an_effect(before: Rate, after: Rate, target: int = 3) -> TriggerEffect:
    return TriggerEffect(family="wave", target=Label(index=target, name=str(target)), before=before, after=after)


def an_accuracy(after: int, p: float, n: int = 50) -> Accuracy:
    return Accuracy(before=Rate(hits=n, n=n), after=Rate(hits=after, n=n), lost=n - after, gained=0, p_value=p)


def test_the_summary_says_what_was_not_seen(found: Report) -> None:
    clean = found.model_copy(update={"verdict": Verdict.CLEAN, "findings": ()})
    worked = an_effect(Rate(hits=9, n=10), Rate(hits=0, n=10))
    idle = an_effect(Rate(hits=0, n=10), Rate(hits=0, n=10), 5)
    untried = an_effect(Rate(hits=0, n=0), Rate(hits=0, n=0), 7)

    def said(*effects: TriggerEffect, after: int = 50, images: int | None = None, **more: Any) -> str:
        given = found.samples.count if images is None else images
        accuracy, told = an_accuracy(after, 0.25), {"between": None, **more}
        return summary(effects, accuracy, 2.0, found, clean, cut=None, trained=True, images=given, **told)

    assert "images a class" not in said(worked, per_class=10)
    assert "It had 6 clean images a class; the rates in docs/repairs.md are with 10" in said(worked, per_class=6)
    assert "of repairs with fewer than 5 nothing is known" in said(worked, per_class=3)

    assert "to class 3 fell from 90% to 0%. Of the 2 triggers no other now works on more than 0%." in said(idle, worked)
    assert "no other" not in said(worked)
    assert "may be chance" not in said(worked)
    assert "None of the triggers worked" in said(idle)
    assert said(worked).endswith("A new scan finds nothing.")
    assert f"It had 20 clean images, the first scan {found.samples.count}" in said(worked, images=20)
    only = said(untried)
    assert "No held-out image could try the triggers to class 7." in only
    assert "None of the triggers worked" not in only
    assert "fell by 6.0 points; on 50 held-out images that may be chance" in said(worked, after=47)
    assert f"still alarmed ({found.summary.rstrip('.')})" in said(worked, between=found)
    weak = found.findings[0].model_copy(update={"weakness": True})
    clean = clean.model_copy(update={"findings": (weak,)})
    assert "nothing but natural weaknesses" in said(worked)


def test_a_trigger_whose_classes_no_image_shows_is_refused(badnets: Scannable) -> None:
    check_images(badnets, (Planted(8, (3,), "sparse", lambda x, a: x),))
    with pytest.raises(UsageError, match="too few images of class 77, which the trigger to class 8 moves"):
        check_images(badnets, (Planted(8, (77,), "sparse", lambda x, a: x),))


def test_what_the_second_scan_names_is_unlearned_as_well(
    found: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt learns nothing, so the scan of it names the trigger again."""
    (tmp_path / "report.json").write_text(found.model_dump_json())
    given: list[int] = []

    def idle_at_first(*values: Any, **options: Any) -> None:
        given.append(len(values[4]))
        if len(given) > 1:
            unlearning.unlearn(*values, **options)

    monkeypatch.setattr(rounds, "unlearn", idle_at_first)
    monkeypatch.setattr(mend, "Plan", lambda: rounds.Plan(most=1))
    result = run(wanted("sig.onnx", tmp_path / "report.json"), str(tmp_path), lambda stage, share: None)
    assert result.outcome == "repaired", result.reasons
    assert result.between is not None
    assert result.between.verdict is Verdict.BACKDOOR
    assert given[1] > given[0], "with the triggers of both scans"
    assert len(result.triggers) > len(planted(found))
    assert "A first result still alarmed" in result.summary


def test_classes_that_no_finding_names_are_unlearned_and_told(
    found: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.json").write_text(found.model_dump_json())
    one = Planted(7, (), "sparse", lambda images, intensity: images, hidden=True)
    monkeypatch.setattr("bdscan.repair.run.unnamed", lambda *given: (one,))
    monkeypatch.setattr(mend, "Plan", lambda: rounds.Plan(searches=0, most=1))
    result = run(wanted("sig.onnx", tmp_path / "report.json"), str(tmp_path), lambda stage, share: None)
    assert [each.target.index for each in result.triggers][-1] == 7


def test_a_report_without_alarms_names_nothing_to_unlearn(found: Report) -> None:
    with pytest.raises(UsageError, match="no trigger to unlearn"):
        planted(found.model_copy(update={"findings": ()}))


@pytest.mark.parametrize(
    "family, ratio, of, hidden",
    [
        ("sparse", 0.2, "sparse", True),
        ("sparse", 0.4, "sparse", True),
        ("sparse", 0.5, "sparse", False),
        ("sparse", 0.1, "warp", True),
        ("sparse", 0.3, "warp", False),
        ("sparse", 0.1, "tone", False),
        ("tone", 0.2, "tone", False),
    ],
)
def test_a_far_smaller_weakness_of_a_network_that_alarms_is_unlearned_too(
    found: Report, family: str, ratio: float, of: str, hidden: bool
) -> None:
    alarms = tuple(finding for finding in found.findings if not finding.weakness)
    shown = next(e for finding in alarms for e in finding.evidence if isinstance(e, TriggerParameters))
    other = Label(index=(shown.target.index + 1) % 10, name="")
    evidence = shown.model_copy(update={"target": other, "family": family})
    weakness = alarms[0].model_copy(update={"weakness": True, "target": other, "evidence": (evidence,)})
    size = Statistic(name=f"{of}.ratio", detector="inversion", value=ratio, target=other)
    others = tuple(s for s in found.statistics if s.target != other)
    several = found.model_copy(update={"findings": (*alarms, weakness), "statistics": (*others, size)})
    assert [t.target for t in planted(several)][-1] == (other.index if hidden else shown.target.index)
    branch = alarms[0].model_copy(update={"target": None, "evidence": ()})
    for without in ((weakness,), (branch, weakness)):
        assert not hides(several.model_copy(update={"findings": without}), evidence)


def test_a_repair_is_rejected_for_an_alarm_and_for_a_significant_drop(found: Report) -> None:
    clean = found.model_copy(update={"verdict": Verdict.CLEAN})
    assert shortcomings(an_accuracy(50, 1.0), 2, clean) == []
    assert "still backdoor" in shortcomings(an_accuracy(50, 1.0), 2, found)[0]
    assert "fell by 12.0 points" in shortcomings(an_accuracy(44, 0.015), 2, clean)[0]
    assert shortcomings(an_accuracy(48, 0.25), 2, clean) == [], "two of fifty may be chance"
    assert "fell by 40.0 points" in shortcomings(an_accuracy(6, 0.0625, 10), 2, clean)[0], "four of ten are too many"


def test_a_repair_is_rejected_for_a_trigger_that_still_works_or_that_nothing_tried(found: Report) -> None:
    clean = found.model_copy(update={"verdict": Verdict.CLEAN})
    full, half, none = Rate(hits=43, n=43), Rate(hits=20, n=43), Rate(hits=0, n=0)
    assert shortcomings(an_accuracy(50, 1.0), 2, clean, [an_effect(full, half)]) == []
    assert "still works on 100%" in shortcomings(an_accuracy(50, 1.0), 2, clean, [an_effect(full, full)])[0]
    assert "could not be tried" in shortcomings(an_accuracy(50, 1.0), 2, clean, [an_effect(none, none)])[0]


def test_a_natural_weakness_that_still_works_rejects_where_it_was_to_be_unlearned(found: Report) -> None:
    clean = found.model_copy(update={"verdict": Verdict.CLEAN, "findings": ()})
    idle = an_effect(Rate(hits=48, n=50), Rate(hits=48, n=50))
    assert shortcomings(an_accuracy(50, 1.0), 2.0, clean) == []
    untried = an_effect(Rate(hits=0, n=0), Rate(hits=0, n=0))
    assert "could not be tried" in shortcomings(an_accuracy(50, 1.0), 2.0, clean, weaknesses=[untried])[0]
    (reason,) = shortcomings(an_accuracy(50, 1.0), 2.0, clean, weaknesses=[idle])
    assert reason == "the weakness of class 3 (wave), unlearned as well, still works on 96% of the held-out images"


def test_a_hidden_trigger_that_still_works_rejects_though_no_alarm_named_it(
    found: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The effects are those of the report's triggers, its alarms first; one more is a weakness beside them."""
    (tmp_path / "report.json").write_text(found.model_dump_json())
    idle = an_effect(Rate(hits=48, n=50), Rate(hits=48, n=50), 7)
    effects = measure.effects
    monkeypatch.setattr(measure, "effects", lambda *given: (*effects(*given), idle))
    monkeypatch.setattr(mend, "Plan", lambda: rounds.Plan(searches=0, most=1))
    result = run(wanted("sig.onnx", tmp_path / "report.json"), str(tmp_path), lambda stage, share: None)
    assert result.outcome == "rejected"
    assert result.reasons == (
        "the weakness of class 7 (wave), unlearned as well, still works on 96% of the held-out images",
    )


@pytest.mark.parametrize(
    ("first", "wish", "used"), [("thorough", "standard", "thorough"), ("quick", "standard", "standard")]
)
def test_a_result_is_scanned_at_least_as_thoroughly_as_the_model_was(
    found: Report, first: str, wish: Any, used: str
) -> None:
    assert at_least(wish, found.model_copy(update={"settings": {"budget": first}})) == used


def test_clean_accuracy_is_of_all_held_out_images(badnets: Scannable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_run, "MOST_IMAGES", 7)
    accuracy = repair_run._clean_accuracy(badnets, badnets.classifier)
    assert accuracy.before.n == len(badnets.samples.held_out) > 7
    assert (accuracy.before, accuracy.lost) == (accuracy.after, 0)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # torch retires TorchScript
def test_a_script_whose_weights_are_constants_is_refused_before_the_work(tmp_path: Path) -> None:
    plain = load(settings("two-triggers.ts"))
    check_trainable(plain.scannable, plain.subject.format)
    network = torch.nn.Sequential(torch.jit.load(FIXTURES / "two-triggers.ts"), torch.nn.Softmax(1))
    torch.jit.script(network).save(str(tmp_path / "soft.ts"))
    soft = load(settings("two-triggers.ts").model_copy(update={"model": str(tmp_path / "soft.ts")}))
    with pytest.raises(CannotJudge, match="ends in a softmax"):
        check_trainable(soft.scannable, soft.subject.format)


def test_samples_of_four_classes_cannot_verify_a_repair(badnets: Scannable) -> None:
    check_classes(badnets)
    samples = badnets.samples
    few = replace(badnets, samples=replace(samples, labels=samples.labels % 4))
    with pytest.raises(CannotJudge, match="images of 4 classes"):
        check_classes(few)
