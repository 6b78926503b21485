"""Published inversion at its own length: a planted pixel is found, rows stay, another table is refused."""

from __future__ import annotations

import json
from pathlib import Path

import model_folders
import pytest
from planted import CLASSES, TARGET, subject
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.errors import UsageError
from bdscan.zoo import full_schedule


def test_more_epochs_leave_a_smaller_planted_trigger() -> None:
    toy = subject()
    images, labels = toy.samples.images, toy.samples.labels
    short = full_schedule.p1_sizes(toy.classifier, images, 4, 0)
    long = full_schedule.p1_sizes(toy.classifier, images, 60, 0)
    assert long.shape == (CLASSES,)
    assert int(long.argmin()) == TARGET
    assert long[TARGET] < short[TARGET]
    masks = full_schedule.nc_sizes(toy.classifier, images, labels, 150, 8, 0)
    assert int(masks.argmin()) == TARGET


def test_a_label_without_a_trigger_is_as_large_as_the_image() -> None:
    toy = subject(0.0)
    assert full_schedule.p1_sizes(toy.classifier, toy.samples.images, 1, 0).max() == 64.0


def test_a_network_gets_a_row_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folders.write(tmp_path / "bad", "badnets")
    out, page = tmp_path / "t.json", tmp_path / "t.md"
    words = ["zoo", "full-schedule", str(folder), "--data", str(tmp_path), "--out", str(out), "--epochs", "3"]
    result = CliRunner().invoke(app, [*words, "--markdown", str(page)])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(out.read_text())["rows"]
    assert row["verdict"] == "backdoor"
    assert row["found_target"] == row["targets"][0]
    assert {length: len(row["nc"][length]["sizes"]) for length in ("ours", "full")} == {"ours": 10, "full": 10}
    assert row["nc"]["ours"]["target"] == row["targets"][0]
    assert "3 epochs of 100 images" in page.read_text()
    monkeypatch.setattr(full_schedule, "measure", lambda *given: pytest.fail("measured again"))
    before = out.read_text()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert out.read_text() == before
    result = CliRunner().invoke(app, [*words[:-1], "4"])
    assert result.exit_code == 2
    assert "another seed or schedule" in result.stderr


def test_a_file_that_is_no_table_is_not_overwritten(tmp_path: Path) -> None:
    folder = model_folders.write(tmp_path / "bad", "badnets")
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(UsageError, match="not a table"):
        full_schedule.run([folder], tmp_path, tmp_path / "t.json", None, command="x")
    assert (tmp_path / "t.json").read_text() == "[]"
