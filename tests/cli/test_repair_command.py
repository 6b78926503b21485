"""`bdscan repair`: what it refuses before any work, and (slow) a whole repair through the worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.cli.repair import interrupted
from bdscan.formats import repair_html
from bdscan.report import FileDigest

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample
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


@pytest.fixture
def external(tmp_path):
    """An ONNX file that was given another name than the weights file it reads, and a report of it."""
    model, report = tmp_path / "suspect.onnx", tmp_path / "r.json"
    shutil.copy(FIXTURES / "clean-1.onnx", model)
    shutil.copy(FIXTURES / "clean-1.onnx.data", tmp_path)
    seen = sample.backdoor()
    files = [
        FileDigest(path=str(tmp_path / name), role=role, sha256="0" * 64, bytes=1)
        for name, role in (("suspect.onnx", "model"), ("clean-1.onnx.data", "sidecar"))
    ]
    subject = seen.subject.model_copy(update={"path": str(model), "files": tuple(files)})
    report.write_text(seen.model_copy(update={"subject": subject}).model_dump_json())
    return model, report


@pytest.mark.parametrize("command", ["repair", "profile"])
def test_weights_beside_the_input_are_not_overwritten(command, external, tmp_path):
    model, report = external
    new = str(tmp_path / "clean-1.onnx")
    words = [command, str(model), "--report", str(report), "--samples", SAMPLES]
    words += ["-o", new] if command == "repair" else ["--guard", new]
    before = (tmp_path / "clean-1.onnx.data").read_bytes()
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "clean-1.onnx.data is an input and would be overwritten" in result.stderr
    assert (tmp_path / "clean-1.onnx.data").read_bytes() == before


@pytest.mark.parametrize("end", [".rejected", ".data", ".repair.json", ".rejected.data"])
def test_no_file_that_a_repair_writes_is_an_input(end, tmp_path):
    model, output = tmp_path / f"m.onnx{end}", tmp_path / "m.onnx"
    shutil.copy(MODEL, model)
    (tmp_path / "r.json").write_text("{}")
    result = run(str(model), "--report", str(tmp_path / "r.json"), "--samples", SAMPLES, "-o", str(output))
    assert result.exit_code == 2
    assert f"{model} is an input and would be overwritten" in result.stderr


def test_folders_pipes_and_names_that_are_none_are_said_before_the_work(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "m.onnx.repair.json").mkdir()
    os.mkfifo(tmp_path / "pipe")
    common = [MODEL, "--report", str(tmp_path / "r.json"), "--samples", SAMPLES, "-o"]
    for output, words in (
        ("folder", "this is a folder; name a file in it"),
        ("folder/", "names a folder; name a file in it"),
        ("m.onnx", "is a folder; choose another name"),
        ("pipe", "is no regular file"),
    ):
        result = run(*common, f"{tmp_path}/{output}")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert words in result.stderr
    for output in ("", "-"):
        result = run(*common, output)
        assert result.exit_code == 2
        assert "not written to stdout" in result.stderr
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_report_that_is_none_is_refused(tmp_path):
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

    def repair_to(settings, output, progress, enough):
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
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert "clean accuracy" in quiet.stdout, "the result is no note"
    assert (tmp_path / "odd.name").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "html, words",
    [
        ("missing/new.html", "there is no folder missing; make it first"),
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


@pytest.fixture
def interrupts():
    """As in a terminal: they may be ignored where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_first_interrupt_is_enough_and_a_second_one_ends_all(capfd, interrupts):
    with interrupted(keep_best=True) as enough:
        assert not enough.is_set()
        signal.raise_signal(signal.SIGINT)
        assert enough.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "Ctrl-C again ends without a result" in capfd.readouterr().err
    with interrupted(keep_best=False) as enough, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not enough.is_set()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_an_interrupt_keeps_what_there_is_and_verifies_it(tmp_path, interrupts):
    """The whole command: interrupted in the first search, so one round of unlearning, then the proof as ever."""
    scan = [sys.executable, "-m", "bdscan.cli.main", "scan", MODEL, "--samples", SAMPLES, "-o", "r.json", "-q"]
    subprocess.run(scan, cwd=tmp_path, check=False)
    command = [sys.executable, "-m", "bdscan.cli.main", "repair", MODEL, "--samples", SAMPLES]
    command += ["--report", "r.json", "-o", "new.onnx", "--keep-best"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("bdscan: load done"):
                process.send_signal(signal.SIGINT)
        process.wait()
    said = "".join(lines)
    assert "ending with the round that runs" in said
    assert process.returncode in (0, 1), said
    assert "search 3 done" not in said
    account = json.loads((tmp_path / "new.onnx.repair.json").read_text())
    assert len(account["rounds"]) == 1
    assert account["after"]["verdict"]
