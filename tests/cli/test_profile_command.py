"""`bdscan profile`: what it refuses in one line, and whole profiles through the worker."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from bdscan.cli.main import app

sys.path.insert(0, str(Path(__file__).parents[1] / "mitigate"))
import planted_report

from bdscan.intake.load import load

FIXTURES, SAMPLES = planted_report.FIXTURES, planted_report.SAMPLES
SIG = str(FIXTURES / "sig.onnx")


def run(*arguments: str):
    return CliRunner().invoke(app, ["profile", *arguments])


@pytest.fixture
def report(tmp_path: Path) -> str:
    file = tmp_path / "report.json"
    file.write_text("{}")
    return str(file)


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = [line for line in result.stderr.splitlines() if " done in " not in line]
    return line


def test_what_cannot_work_is_said_before_any_work(report: str, tmp_path: Path) -> None:
    given = (SIG, "--samples", SAMPLES)
    assert "--report: cannot read 'nowhere.json'" in refused(*given, "--report", "nowhere.json")
    given = (*given, "--report", report)
    lost = str(tmp_path / "no" / "x")
    for option, name in (("-o", lost), ("--html", lost), ("--guard", f"{lost}.onnx")):
        assert f"{option} {name}: there is no folder {tmp_path / 'no'}" in refused(*given, option, name)
        assert "is an input and would be overwritten" in refused(*given, option, SIG)
    same = str(tmp_path / "same")
    assert "-o names the same file" in refused(*given, "-o", same, "--html", same)
    assert "--html -: names a file" in refused(*given, "--html", "-")
    assert "--max-accuracy-drop: " in refused(*given, "--max-accuracy-drop", "-1")
    assert "is a folder" in refused(*given, "--guard", str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["report.json"]


def test_a_report_that_is_none_is_refused_by_the_worker(report: str) -> None:
    assert "is no bdscan report" in refused(SIG, "--samples", SAMPLES, "--report", report)


def test_a_profile_with_its_guard_page_and_json(report: str, tmp_path: Path) -> None:
    chosen, made = planted_report.badnets()
    Path(report).write_text(made.model_dump_json())
    page, out, guard = (str(tmp_path / name) for name in ("p.html", "p.json", "g.pt"))
    before = (FIXTURES / "badnets.pth.tar").read_bytes()
    arguments = (chosen.model, "--arch", str(chosen.arch), "--samples", SAMPLES, "--report", report, "--threads", "1")
    result = run(*arguments, "-o", out, "--html", page, "--guard", guard, "--max-accuracy-drop", "8")
    assert result.exit_code == 0, result.output
    profile = json.loads(Path(out).read_text())
    assert profile["isolation"]["level"] != "none"
    assert profile["guard"]["file"]["path"] == guard
    assert profile["guard"]["transformation"] == profile["advice"]["guard"]["effect"]["text"]
    assert profile["advice"]["summary"] in " ".join(result.stdout.split())
    assert "train the trigger through it" in " ".join(result.stdout.split())
    assert f"bdscan: wrote {guard}" in result.stderr
    assert profile["advice"]["guard"]["effect"]["text"] in Path(page).read_text()
    assert (FIXTURES / "badnets.pth.tar").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["g.pt", "p.html", "p.json", "report.json"]


def test_an_onnx_guard_with_its_weights_beside_it(report: str, tmp_path: Path) -> None:
    """A patch that is no backdoor: all that goes to the target does so by the patch itself."""
    chosen = planted_report.settings("clean-1.onnx")
    intake = load(chosen)
    Path(report).write_text(planted_report.report(intake, planted_report.trigger(FAINT, 8)).model_dump_json())
    guard = tmp_path / "g.onnx"
    arguments = (chosen.model, "--samples", SAMPLES, "--report", report, "--guard", str(guard), "-q", "-o", "-")
    result = run(*arguments, "--max-accuracy-drop", "100", "--threads", "1")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["guard"]["format"] == "ONNX"
    assert sorted(os.listdir(tmp_path)) == ["g.onnx", "g.onnx.data", "report.json"]
    session = onnxruntime.InferenceSession(str(guard), providers=["CPUExecutionProvider"])
    x = intake.scannable.samples.images.float() / 255
    assert session.run(None, {"input": x.numpy()})[0].shape == (100, 10)


def test_no_guard_is_written_where_there_is_nothing_to_lower(report: str, tmp_path: Path) -> None:
    chosen = planted_report.settings("clean-1.onnx")
    Path(report).write_text(
        planted_report.report(load(chosen), planted_report.trigger(torch.full((1, 16, 16), -0.9), 0)).model_dump_json()
    )
    guard = tmp_path / "g.onnx"
    result = run(chosen.model, "--samples", SAMPLES, "--report", report, "--guard", str(guard), "--threads", "1")
    assert result.exit_code == 1, result.output
    assert "The triggers do not work on these images: 0 % (0 of 42)" in " ".join(result.stdout.split())
    assert "not written; no transformation" in result.stderr
    assert not guard.exists()


FAINT = planted_report.patch() * 0
FAINT[0, 4:12, 7:9] = 1.0
