"""Conformal p-values by hand, and the file of references that comes with the tool."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from typer.testing import CliRunner

from bdscan.calibration import ENOUGH, Reference, References, load_references
from bdscan.cli.main import app
from bdscan.errors import UsageError
from bdscan.few_classes import LEVEL, held_to, is_several
from bdscan.report import SamplesInfo, Statistic, Subject
from bdscan.resources import resource
from bdscan.rules import describe_rules
from bdscan.zoo import calibrate


def references(*scores: float) -> References:
    models = tuple(Reference(s, s >= 5, (1, 28, 28), 10, 0.9) for s in scores)
    return References(name="r", sha256="0" * 64, budget="standard", models=models, note="n")


@pytest.mark.parametrize(
    "score, p",
    [(5.0, 1 / 5), (4.0, 2 / 5), (3.5, 2 / 5), (2.0, 4 / 5), (0.0, 1.0), (1.0, 1.0)],
)
def test_p_value_is_the_share_of_references_at_least_as_high_with_the_scanned_one_among_them(
    score: float, p: float
) -> None:
    assert references(1.0, 2.0, 3.0, 4.0).p_value(score, "standard") == pytest.approx(p)


def test_a_scan_with_some_detectors_is_held_to_what_those_give_on_the_references() -> None:
    def one(**margins: float) -> Reference:
        return Reference(max(margins.values()), False, (1, 28, 28), 10, 0.9, margins)

    models = (one(sparse=0.2, tone=0.9), one(sparse=0.8, tone=0.1), one(tone=0.5))
    found = References(name="r", sha256="0" * 64, budget="standard", models=models, note="n")
    assert found.p_value(0.6, "standard") == 3 / 4
    assert found.p_value(0.6, "standard", frozenset({"sparse"})) == 2 / 4
    assert found.p_value(0.6, "standard", frozenset({"tone", "sparse"})) == 3 / 4
    assert found.p_value(0.6, "standard", frozenset({"graph"})) == 1 / 4


def test_references_whose_families_are_not_known_count_with_their_whole_score() -> None:
    """Else a scan with some detectors would look rarer than it is."""
    assert references(0.2, 0.7, 0.9).p_value(0.6, "standard", frozenset({"sparse"})) == 3 / 4


def test_few_references_of_ones_own_decide_nothing() -> None:
    """Of ten no p-value is below 1/11: every alarm would be called natural."""
    many = references(*([0.5] * 19))
    assert many.decides(0.05, "standard", "a" * 64)
    assert not many.decides(0.05, "quick", "a" * 64)
    assert not references(*([0.5] * 18)).decides(0.05, "standard", "a" * 64)
    assert not replace(many, rules="b" * 64).decides(0.05, "standard", "a" * 64)


def test_there_is_no_p_value_by_other_rules() -> None:
    models = references(0.2, 0.7).models
    found = References(name="r", sha256="0" * 64, budget="standard", models=models, note="n", rules="a" * 64)
    assert found.p_value(0.6, "standard", rules="a" * 64) == 2 / 3
    assert found.p_value(0.6, "standard", rules="b" * 64) is None
    assert references(0.2).p_value(0.6, "standard", rules="b" * 64) is None, "nobody knows by which they were scanned"


def test_statistics_that_grow_with_suspicion_get_p_values_of_their_own() -> None:
    def one(**largest: float) -> Reference:
        values = {name.replace("_", "."): value for name, value in largest.items()}
        return Reference(0.5, False, (1, 28, 28), 10, 0.9, statistics=values)

    def statistic(name: str, value: float | None) -> Statistic:
        return Statistic(name=name, detector="d", value=value)

    models = (*(one(fast_index=i / 10, dark_index=1.0) for i in range(ENOUGH)), one(fast_index=9.0))
    found = References(name="r", sha256="0" * 64, budget="standard", models=models[1:], note="n", rules="a" * 64)
    asked = [statistic("fast.index", 4.0), statistic("dark.index", 4.0), statistic("fast.ratio", 0.1)]
    fast, dark, ratio = found.ranked(asked, "standard", "a" * 64)
    assert (fast.p_value, fast.reference) == ((1 + 10) / (1 + ENOUGH), "r")
    assert dark.p_value is None, "too few of the references have it"
    assert ratio.p_value is None, "small ones are suspicious"
    assert found.ranked([statistic("fast.index", None)], "standard", "a" * 64)[0].p_value is None
    assert found.ranked(asked, "quick", "a" * 64) == found.ranked(asked, "standard", "b" * 64) == tuple(asked)


def test_equal_scores_count_against_the_alarm() -> None:
    assert references(2.0, 2.0, 2.0).p_value(2.0, "standard") == 1.0


def test_a_clean_network_s_p_value_is_uniform() -> None:
    """Any one of n + 1 exchangeable scores is at most alpha with probability at most alpha: the promise itself."""
    scores = [0.3, 1.1, 1.4, 2.0, 2.2, 3.7, 4.1, 5.9, 6.3, 9.0]
    values = [references(*(s for s in scores if s != one)).p_value(one, "standard") for one in scores]
    assert sorted(values) == pytest.approx([(i + 1) / 10 for i in range(10)])


def test_without_references_a_score_or_their_budget_there_is_no_p_value() -> None:
    assert references().p_value(100.0, "standard") is None
    assert references(1.0).p_value(None, "standard") is None
    assert references(1.0).p_value(100.0, "quick") is None


def test_forty_nine_references_are_enough_and_fewer_are_provisional() -> None:
    assert references(*range(48)).describe().provisional
    enough = references(*range(49)).describe()
    assert not enough.provisional
    assert enough.references == 49 == ENOUGH
    assert min(references(*range(49)).p_value(s, "standard") for s in (1e9,)) == pytest.approx(0.02)


def test_the_false_alarm_rate_is_that_of_the_references() -> None:
    assert references(1.0, 2.0, 6.0, 7.0).describe().false_alarm_rate == 0.5
    assert references().describe().false_alarm_rate is None


@pytest.mark.parametrize(
    "change, said",
    [
        ({"input_shape": (3, 224, 224)}, "No reference has images of about 224 pixels (theirs: 28)."),
        ({"input_shape": (3, 32, 32)}, "n No reference has images of 3 channels (theirs: 1)."),
        ({"classes": ("a", "b", "c")}, "No reference has about 3 classes (theirs: 10)."),
        ({"classes": ("a", "b", "c")}, "With so few classes"),
        ({"clean_accuracy": 0.5}, "No reference is as inaccurate (theirs: 90% and more)."),
    ],
)
def test_what_sets_a_model_apart_from_all_references_is_said(change: dict, said: str) -> None:
    plain = {"input_shape": (1, 28, 28), "classes": tuple("abcdefghij"), "clean_accuracy": 0.95}
    assert references(1.0).describe(cast(Subject, SimpleNamespace(**plain))).note == "n"
    assert said in references(1.0).describe(cast(Subject, SimpleNamespace(**plain | change))).note


@pytest.mark.parametrize(
    "theirs, own, said", [(10, (2, 2, 0, 3), True), (10, (5, 5, 5, 4), False), (None, (2, 2), False)]
)
def test_far_fewer_images_than_the_references_had_are_said(theirs: int | None, own: tuple, said: bool) -> None:
    subject = SimpleNamespace(input_shape=(1, 28, 28), classes=tuple("abcdefghij"), clean_accuracy=0.95)
    found = replace(references(1.0), per_class=theirs)
    note = found.describe(cast(Subject, subject), cast(SamplesInfo, SimpleNamespace(per_class=own))).note
    assert ("10 clean images a class, this scan 2" in note) == said


def test_the_file_is_read_with_its_hash(tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    folder.mkdir()
    plain = {"alarm": False, "input_shape": [1, 28, 28], "classes": 10, "accuracy": 0.9}
    models = [plain | {"score": 0.5}, plain | {"score": 2, "alarm": True, "name": "m"}]
    raw = json.dumps({"name": "x", "note": "y", "budget": "quick", "models": models}).encode()
    (folder / "any.json").write_bytes(raw)
    found = load_references(tmp_path)
    assert (found.name, found.note, found.budget) == ("x", "y", "quick")
    assert [(m.score, m.alarm) for m in found.models] == [(0.5, False), (2.0, True)]
    assert found.sha256 == found.describe().sha256 == hashlib.sha256(raw).hexdigest()


def test_the_shipped_file_loads_and_describes_itself() -> None:
    shown = load_references(resource("rules")).describe()
    assert shown.note
    assert shown.provisional == (shown.references < ENOUGH)


SHIPPED = [(10, False, "references", 99), (3, True, "few-references", ENOUGH), (6, False, "several-references", ENOUGH)]


@pytest.mark.parametrize("outputs, few, survey, least", SHIPPED)
def test_the_shipped_references_are_those_of_the_committed_survey_and_of_the_shipped_rules(
    tmp_path: Path, outputs: int, few: bool, survey: str, least: int
) -> None:
    """The statistics of every clean network are in docs/accuracy: what is made of them again must be what ships."""
    folder = held_to(resource("rules"), outputs, few)
    shipped = json.loads((folder / "calibration" / "references.json").read_text())
    lines = Path(__file__).parents[1] / "docs" / "accuracy" / f"{survey}.jsonl"
    level = LEVEL if is_several(outputs) and not few else None
    again = calibrate.run([lines], tmp_path / "again.json", name="references", level=level, command="")
    assert again["models"] == shipped["models"]
    assert len(shipped["models"]) >= least
    assert outputs in {model["classes"] for model in shipped["models"]}, "of as many classes as they are for"
    rules = describe_rules(resource("rules"), few_classes=few, calibrated=True)
    assert shipped["rules"] == rules.sha256, "by other rules there would be no p-value"


def own_file(folder: Path) -> str:
    """Three references, one of them with a high score that is not from the sparse family."""
    plain = {"alarm": False, "input_shape": [1, 16, 16], "classes": 10, "accuracy": 0.9}
    low, high = {"score": 0.0, "margins": {"tone": 0.0}}, {"score": 9.0, "margins": {"tone": 9.0}}
    table = {"name": "ours", "note": "n", "budget": "standard", "rules": describe_rules(resource("rules")).sha256}
    table |= {"models": [plain | low, plain | low, plain | high]}
    (folder / "ours.json").write_text(json.dumps(table))
    return str(folder / "ours.json")


def test_references_of_the_user_s_own_take_the_place_of_the_built_in_ones(tmp_path: Path) -> None:
    found = load_references(resource("rules"), own_file(tmp_path))
    assert (found.name, found.p_value(0.9, "standard")) == ("ours", 0.5)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"name": 1, "note": "", "budget": "", "models": [{}]}', '{"models": 3}', "not finite"],
)
def test_a_file_that_is_no_calibration_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    if text == "not finite":
        text = Path(own_file(tmp_path)).read_text().replace("9.0", "NaN")
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match="--calibration") as error:
        load_references(resource("rules"), str(tmp_path / "x.json"))
    assert "\n" not in str(error.value)


def test_a_scan_is_held_to_the_calibration_that_it_is_given(tmp_path: Path, fixtures_dir: Path) -> None:
    """Through the worker, which may read only what the settings name."""
    command = ["scan", fixtures_dir / "clean-1.onnx", "--samples", fixtures_dir / "samples.npz", "--quiet"]
    command += ["--detectors", "graph,inversion.sparse", "--calibration", own_file(tmp_path), "-o", tmp_path / "r.json"]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 3, "inconclusive, since not all detectors were asked for"
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["calibration"]["name"] == "ours"
    assert report["p_value"] == 0.25, "the high one owes its score to a detector that this scan leaves out"
