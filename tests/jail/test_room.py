"""What a worker may write follows the model that is repaired or guarded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bdscan.errors import UsageError
from bdscan.jail.room import FOLDER, LARGEST_FILE, folder_bytes, largest_file, model_bytes
from bdscan.settings import ProfileSettings, RepairSettings, Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample


def test_a_large_model_can_be_written(tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    report = sample.backdoor()
    large = tuple(file.model_copy(update={"bytes": 10**9}) for file in report.subject.files)
    subject = report.subject.model_copy(update={"files": large})
    saved.write_text(report.model_copy(update={"subject": subject}).model_dump_json())
    given = {"model": "m.onnx", "samples": "s", "report": str(saved)}
    whole = 10**9 * sum(file.role in ("model", "sidecar") for file in large)
    for settings in (RepairSettings(**given, name="new.onnx"), ProfileSettings(**given)):
        assert model_bytes(settings) == whole > 0
    assert largest_file(whole) > 2 * whole
    assert folder_bytes(whole) > 4 * whole


def test_a_scan_writes_next_to_nothing() -> None:
    nothing = model_bytes(Settings(model="m.onnx", samples="s"))
    assert (nothing, largest_file(nothing), folder_bytes(nothing)) == (0, LARGEST_FILE, FOLDER)


def test_a_report_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    settings = RepairSettings(model="m", samples="s", report=str(tmp_path / "report.json"), name="new.onnx")
    with pytest.raises(UsageError, match="--report"):
        model_bytes(settings)
