"""From lines, or a user's own reports, to references."""

from __future__ import annotations

from pathlib import Path

import pytest
from survey_lines import MADE, row, write

from bdscan import api
from bdscan.calibration import load_references
from bdscan.errors import UsageError
from bdscan.report import Verdict
from bdscan.zoo import calibrate


def test_references_are_what_scans_read_and_alarms_stay_among_them(tmp_path: Path) -> None:
    lines = write(tmp_path / "s.jsonl", row("ref-clean-0", "clean", 0.4), row("ref-clean-1", "suspicious", 1.2))
    calibrate.run([lines], tmp_path / "calibration" / "x.json", name="mine", note="All ours.", command="c")
    found = load_references(tmp_path)
    assert found.note == "Scanned at the standard budget. All ours."
    assert (found.name, found.budget, len(found.models)) == ("mine", "standard", 2)
    assert found.describe().false_alarm_rate == 0.5
    assert found.p_value(0.8, "standard") == 2 / 3


def test_where_alarms_count_beyond_references_only_the_furthest_are_false(tmp_path: Path) -> None:
    rows = [row(f"ref-clean-{i}", "backdoor" if i > 35 else "clean", i / 10) for i in range(40)]
    lines = write(tmp_path / "s.jsonl", *rows)
    alarms = []
    for level in (None, 0.05):
        table = calibrate.run([lines], tmp_path / "x.json", name="mine", level=level, command="c")
        alarms.append([model["score"] for model in table["models"] if model["alarm"]])
    assert alarms == [[3.6, 3.7, 3.8, 3.9], [3.8, 3.9]], "of 39 others at most one scores as high as these"


def test_reports_of_a_users_own_clean_models_are_references_too(tmp_path: Path, fixtures_dir: Path) -> None:
    settings = api.make_settings(
        model=str(fixtures_dir / "clean-1.onnx"),
        samples=str(fixtures_dir / "samples.npz"),
        detectors=("graph", "margin"),
    )
    report = api.run(settings).model_copy(update={"score": 0.25, "verdict": Verdict.CLEAN})
    (tmp_path / "ours.json").write_text(report.model_dump_json())
    with pytest.raises(UsageError, match="--detectors"):
        calibrate.run([tmp_path / "ours.json"], tmp_path / "x.json", name="mine", command="c")
    whole = report.model_copy(update={"settings": report.settings | {"detectors": ()}})
    three = whole.samples.model_copy(update={"per_class": (9, 9, 9, *[0] * 7)})
    nothing = whole.model_copy(update={"samples": three, "lacking": ("comparison",)})
    (tmp_path / "ours.json").write_text(nothing.model_dump_json())
    with pytest.raises(UsageError, match="3 of 10 classes"):
        calibrate.run([tmp_path / "ours.json"], tmp_path / "x.json", name="mine", command="c")
    (tmp_path / "ours.json").write_text(whole.model_dump_json())
    calibrate.run([tmp_path / "ours.json"], tmp_path / "calibration" / "x.json", name="mine", command="c")
    (one,) = load_references(tmp_path).models
    assert (one.score, one.classes, one.input_shape) == (0.25, 10, (1, 16, 16))
    assert load_references(tmp_path).per_class == min(whole.samples.per_class) == 10
    fewer = whole.samples.model_copy(update={"per_class": (4,) * 10})
    (tmp_path / "other.json").write_text(whole.model_copy(update={"samples": fewer}).model_dump_json())
    both = [tmp_path / "ours.json", tmp_path / "other.json"]
    with pytest.raises(UsageError, match="images a class"):
        calibrate.run(both, tmp_path / "x.json", name="mine", command="c")


@pytest.mark.parametrize(
    "bad, said",
    [
        (row("ref-warp-0", "backdoor", 2.0), "not clean"),
        (row("ref-clean-9", "error", None), "no score"),
        (row("ref-clean-9", "inconclusive", 0.05), "not wholly scanned"),
        (row("ref-clean-9", "clean", 0.1, made=MADE | {"rules": "f" * 64}), "or rules"),
        (row("ref-clean-9", "clean", 0.1, made=MADE | {"budget": "quick"}), "differ in budget"),
        (row("ref-clean-9", "clean", 0.1, made=MADE | {"per_class": 2}), "different numbers of images a class"),
    ],
)
def test_what_cannot_be_a_reference_is_refused_and_not_left_out(tmp_path: Path, bad: dict, said: str) -> None:
    lines = write(tmp_path / "s.jsonl", row("ref-clean-0", "clean", 0.4), bad)
    with pytest.raises(UsageError, match=said):
        calibrate.run([lines], tmp_path / "x.json", name="mine", command="c")
    assert not (tmp_path / "x.json").exists()
