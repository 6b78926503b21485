"""`bdscan repair`: what it refuses before any work, and (slow) a whole repair through the worker."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.formats import repair_html

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample_repair

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL, SAMPLES = str(FIXTURES / "sig.onnx"), str(FIXTURES / "samples.npz")


def run(*arguments: str):
    return CliRunner().invoke(app, ["repair", *arguments])


def test_a_missing_report_and_a_place_that_cannot_be_written_are_said_first(tmp_path):
    result = run(MODEL, "--report", "nowhere.json", "--samples", SAMPLES, "-o", str(tmp_path / "new.onnx"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--report: cannot read 'nowhere.json'" in result.stderr
    report = tmp_path / "r.json"
    report.write_text("{}")
    result = run(MODEL, "--report", str(report), "--samples", SAMPLES, "-o", str(tmp_path / "no" / "new.onnx"))
    assert result.exit_code == 2
    assert "--output" in result.stderr
    result = run(MODEL, "--report", str(report), "--samples", SAMPLES, "-o", MODEL)
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr


def test_a_report_that_is_none_is_refused_by_the_worker(tmp_path):
    report = tmp_path / "r.json"
    report.write_text("{}")
    result = run(MODEL, "--report", str(report), "--samples", SAMPLES, "-o", str(tmp_path / "new.onnx"), "-q")
    assert result.exit_code == 2
    assert "--report: " in result.stderr
    assert "is no bdscan report" in result.stderr
    assert sorted(os.listdir(tmp_path)) == ["r.json"]


@pytest.fixture
def faked(tmp_path, monkeypatch):
    """`bdscan repair` in an empty folder with a report, and a repair that takes no time; what it was asked to write."""
    calls = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text("{}")

    def repair_to(settings, output, progress):
        calls.append(output)
        return sample_repair.repaired(), (output,)

    monkeypatch.setattr("bdscan.api.repair_to", repair_to)
    return calls


def test_the_page_is_written_beside_the_repaired_model(faked, tmp_path):
    result = run(MODEL, "--report", "r.json", "--samples", SAMPLES, "-o", "new.onnx", "--html", "new.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new.html").read_text() == repair_html.render(sample_repair.repaired())
    assert "wrote new.html" in result.stderr
    assert faked == ["new.onnx"]
    quiet = run(MODEL, "--report", "r.json", "--samples", SAMPLES, "-o", "new.onnx", "--html", "odd.name", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert (tmp_path / "odd.name").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "html, words",
    [
        ("missing/new.html", "cannot be written (No such file or directory)"),
        (".", "this is a folder"),
        ("r.json", "this is an input and would be overwritten"),
        (SAMPLES, "this is an input and would be overwritten"),
        ("./new.onnx", "the repair writes another file of this name"),
        ("new.onnx.repair.json", "the repair writes another file of this name"),
        ("-", "name a file"),
    ],
)
def test_a_page_that_cannot_be_written_is_said_before_the_work(faked, html, words):
    result = run(MODEL, "--report", "r.json", "--samples", SAMPLES, "-o", "new.onnx", "--html", html)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"--html {html}: " in result.stderr
    assert words in result.stderr
    assert faked == []


@pytest.mark.slow
def test_a_scan_and_its_repair_through_the_worker(tmp_path):
    report, new = tmp_path / "r.json", tmp_path / "new.onnx"
    scan = CliRunner().invoke(app, ["scan", MODEL, "--samples", SAMPLES, "-q", "-o", str(report)])
    assert scan.exit_code == 1
    result = run(MODEL, "--report", str(report), "--samples", SAMPLES, "-o", str(new))
    assert result.exit_code == 0, result.output
    assert "repaired" in result.stdout
    account = json.loads((tmp_path / "new.onnx.repair.json").read_text())
    assert account["after"]["verdict"] == "clean"
    assert account["after"]["subject"]["path"] == str(new)
    assert "bdscan-" not in json.dumps({**account, "before": None}), "the private folder of the worker"
    assert account["after"]["isolation"]["level"] == account["before"]["isolation"]["level"]
    again = CliRunner().invoke(app, ["scan", str(new), "--samples", SAMPLES, "-q"])
    assert again.exit_code == 0
