"""Several models in one command: one report each, one table, and never a pass for what was not scanned."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from typer.testing import CliRunner

from bdscan import executor
from bdscan.cli import gate
from bdscan.cli.main import app
from bdscan.cli.models import named
from bdscan.report import Report
from bdscan.settings import Settings

VERDICTS = ("clean", "suspicious", "backdoor", "inconclusive")


@pytest.fixture
def several(scan, files, monkeypatch):
    """`several("clean", "backdoor", ...)`: make the models that have no `/`, and scan them in one command."""
    import bdscan.api
    from bdscan.errors import CannotJudge

    fake = bdscan.api.run

    def run(settings, **options):
        if settings.model.startswith("unjudged"):
            raise CannotJudge("accuracy near chance [red]\x1b[2J")
        if settings.model.startswith("bug"):
            raise KeyError("boom")
        return fake(settings, **options)

    monkeypatch.setattr("bdscan.api.run", run)
    monkeypatch.setenv("COLUMNS", "120")

    def command(*words: str):
        for word in words:
            if word in VERDICTS or word.startswith(("unjudged", "bug")):
                files(word)
        return CliRunner().invoke(app, ["scan", *words, "--samples", "samples.npz"])

    return command


@pytest.mark.parametrize(
    "models, code",
    [
        (["clean", "inconclusive"], 3),
        (["clean", "suspicious", "inconclusive", "none.onnx"], 1),
        (["inconclusive", "none.onnx", "clean"], 3),
        (["clean", "none.onnx"], 2),
        (["clean", "unjudged"], 3),
        (["clean", "bug"], 3),
        (["clean", "./clean"], 0),
    ],
)
def test_the_worst_exit_code_counts_and_every_other_model_is_scanned(several, models, code):
    result = several(*models, "-q")
    assert result.exit_code == code, result.stderr
    if len(set(map(os.path.normpath, models))) > 1:
        assert all(model in result.stdout for model in models)
        assert f"{len(models)} models: " in result.stdout
        assert f"Exit code {code}" in result.stdout


def test_every_order_of_codes_is_the_documented_one():
    assert gate.worst([0, 2, 3, 1]) == 1
    assert gate.worst([0, 2, 3]) == 3
    assert gate.worst([0, 2]) == 2
    assert gate.worst([0, 0]) == 0
    assert gate.worst([]) == 3, "nothing scanned is no pass"


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_one_report_each_a_table_and_a_summary_file(several, tmp_path, jobs):
    (tmp_path / "out").mkdir()
    outputs = ["-o", "out/{name}.json", "-o", "out/{name}.md", "--summary", "out/all.json"]
    result = several("clean", "backdoor", "none.onnx", "unjudged", *outputs, "--jobs", jobs)
    assert result.exit_code == 1
    for name in ("clean", "backdoor"):
        report = Report.model_validate_json((tmp_path / "out" / f"{name}.json").read_text())
        assert (report.verdict, report.run.jobs) == (name, int(jobs))
        assert report.run.outputs == (f"out/{name}.json", f"out/{name}.md")
    assert not (tmp_path / "out" / "none.onnx.json").exists()
    rows = json.loads((tmp_path / "out" / "all.json").read_text())
    assert rows["exit_code"] == 1
    assert [(row["model"], row["verdict"], row["exit_code"]) for row in rows["models"]] == [
        ("clean", "clean", 0),
        ("backdoor", "backdoor", 1),
        ("none.onnx", "", 2),
        ("unjudged", "", 3),
    ]
    named = [word for word in result.stdout.split() if word in {"clean", "backdoor", "none.onnx", "unjudged"}]
    assert list(dict.fromkeys(named)) == ["clean", "backdoor", "none.onnx", "unjudged"]
    assert "not scanned" in result.stdout
    assert "accuracy near chance [red]\\x1b[2J" in " ".join(result.stdout.split())
    assert "bdscan: backdoor: backdoor in " in result.stderr


def test_a_lone_model_that_cannot_be_judged_is_one_line_and_in_the_summary(several, tmp_path):
    result = several("unjudged", "-q", "--summary", "all.md", "-o", "r.json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("bdscan: accuracy near chance")
    content = (tmp_path / "all.md").read_text()
    assert "| not scanned | unjudged | accuracy near chance \\[red\\]\\\\x1b\\[2J |" in content
    assert "1 model: 1 not scanned" in content
    assert "Exit code 3" in content
    assert not (tmp_path / "r.json").exists()


def test_patterns_are_expanded_and_an_empty_one_is_an_error(several, tmp_path):
    for name in ("a.onnx", "b.onnx", "deep/c.onnx", "odd[1].onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"m")
    result = several("**/*.onnx", "-q")
    assert "4 models: 4 clean. Exit code 0." in result.stdout
    assert several("odd[1].onnx", "a.onnx", "./a.onnx", "*.onnx", "-q").stdout.count(".onnx") == 3
    result = several("*.onnx", "*.pth")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "bdscan: *.pth: no file fits this pattern; nothing would have been scanned\n"


@pytest.mark.parametrize(
    "models, outputs, words",
    [
        (["clean", "backdoor"], ["-o", "r.html"], "2 models, one report each; write e.g. -o '{name}.html'"),
        (["clean", "backdoor"], ["-o", "-"], "stdout takes the report of one model"),
        (["clean", "backdoor"], ["--format", "json"], "stdout takes the report of one model"),
        (
            ["a/m", "b/m"],
            ["-o", "{name}.json"],
            "m.json: the report of a/m and of b/m; write {path} in place of {name}",
        ),
        (["clean", "backdoor"], ["-o", "missing/{name}.json"], "missing/clean.json: there is no folder missing"),
        (["clean"], ["--summary", "-"], "--summary -: stdout shows the verdict; name a file"),
        (["clean"], ["-o", "r.json", "--summary", "./r.json"], "--summary ./r.json: a report goes there (-o)"),
        (
            ["clean", "backdoor"],
            ["--summary", "missing/s.json"],
            "--summary missing/s.json: there is no folder missing",
        ),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_scanned(several, scan, tmp_path, models, outputs, words):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m").write_bytes(b"m")
    result = several(*models, *outputs)
    assert (result.exit_code, result.stdout, scan.calls) == (2, "", [])
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_paths_in_one_word():
    assert named("{path}.json", "../a/b.onnx") == "a-b.onnx.json"
    assert named("r/{path}.json", "/x/./y.onnx") == "r/x-y.onnx.json"
    assert named("r/{name}", "/x/y.onnx") == "r/y.onnx"


def test_a_report_that_cannot_be_written_is_the_row_of_its_model_only(several, monkeypatch):
    from bdscan.cli import outputs

    write = outputs.atomic.write

    def full(path, content):
        if "clean" in str(path):
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr("bdscan.atomic.write", full)
    result = several("clean", "inconclusive", "-o", "{name}.json")
    assert result.exit_code == 3
    assert "(No space left on device)" in " ".join(result.stdout.split())
    assert os.path.exists("inconclusive.json")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_its_terminal_and_loses_nothing(several, monkeypatch, tmp_path, width):
    monkeypatch.setenv("COLUMNS", str(width))
    long = "models/some-folder-of-a-vendor/resnet50-imagenet-finetuned-v2.onnx"
    (tmp_path / long).parent.mkdir(parents=True)
    (tmp_path / long).write_bytes(b"m")
    stdout = several("backdoor", "clean", long, "-o", "{name}.json", "-q").stdout
    assert max(map(len, stdout.splitlines())) <= width
    assert stdout.count("backdoor") >= 2
    for verdict in ("backdoor", "clean"):
        assert verdict in stdout


def fake_scan(settings: Settings, progress, stop) -> Report:
    import fake_report

    progress("load", 0.0)
    time.sleep(0.01 * int(settings.model))
    progress("load", 1.0)
    return fake_report.make(settings)


def test_at_most_as_many_scans_at_a_time_as_jobs_and_all_of_them_once():
    running, most, lock = 0, 0, threading.Lock()

    def counted(settings, progress, stop):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return fake_scan(settings, progress, stop)

    settings = [Settings(model=str(number % 3), samples="s") for number in range(12)]
    ended = list(executor.run_all(settings, counted, lambda index: lambda stage, share: None, jobs=3))
    assert sorted(each.index for each in ended) == list(range(12))
    assert all(isinstance(each.outcome, Report) for each in ended)
    assert most == 3


def test_who_stops_listening_stops_silent_scans_and_begins_no_more():
    began, stopped = [], []

    def scan(settings, progress, stop):
        began.append(settings.model)
        if settings.model == "0":
            return fake_scan(settings, progress, stop)
        assert stop.wait(30), "said nothing of its end"
        stopped.append(settings.model)
        raise KeyError("stopped")

    settings = [Settings(model=str(number), samples="s") for number in range(6)]
    scans = executor.run_all(settings, scan, lambda index: lambda stage, share: None, jobs=2)
    assert next(scans).index == 0
    since = time.monotonic()
    scans.close()
    assert time.monotonic() - since < 2
    assert began in (["0", "1"], ["0", "1", "2"])
    assert sorted(stopped) == began[1:]
