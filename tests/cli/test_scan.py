from __future__ import annotations

import inspect
import json
import os
import stat
import threading

import pytest
from typer.testing import CliRunner

from bdscan.cli.exits import FailOn, exit_code
from bdscan.cli.main import app
from bdscan.cli.place import in_repository
from bdscan.cli.scan import scan as scan_command
from bdscan.errors import CannotJudge, UsageError
from bdscan.formats import FORMATS
from bdscan.report import Report, Verdict
from bdscan.settings import Settings


@pytest.mark.parametrize(
    "verdict, on_suspicious, on_backdoor",
    [("clean", 0, 0), ("inconclusive", 3, 3), ("suspicious", 1, 0), ("backdoor", 1, 1)],
)
def test_exit_codes_follow_the_verdict_and_fail_on(scan, verdict, on_suspicious, on_backdoor):
    assert exit_code(Verdict(verdict), FailOn.suspicious) == on_suspicious
    assert exit_code(Verdict(verdict), FailOn.backdoor) == on_backdoor
    assert scan(verdict).exit_code == on_suspicious
    result = scan(verdict, "--fail-on", "backdoor")
    assert result.exit_code == on_backdoor
    assert ("below --fail-on backdoor" in result.stderr) == (verdict == "suspicious")


def test_an_alarm_below_fail_on_does_not_make_an_incomplete_scan_pass(scan, monkeypatch):
    """Without the alarm the verdict would be inconclusive: 3."""
    from bdscan import api

    fake = api.run
    lacking = {"lacking": ("inversion.sparse",)}
    monkeypatch.setattr("bdscan.api.run", lambda *given, **more: fake(*given, **more).model_copy(update=lacking))
    result = scan("suspicious", "--fail-on", "backdoor")
    assert result.exit_code == 3
    assert "below --fail-on backdoor: exit code 3, because a stage that a clean verdict needs" in result.stderr
    assert scan("suspicious").exit_code == 1
    assert scan("backdoor", "--fail-on", "backdoor").exit_code == 1


@pytest.mark.parametrize("arguments", [["-o", "-"], ["--format", "json"], ["-o", "-", "--format", "json", "--quiet"]])
def test_stdout_is_the_result_and_nothing_else(scan, arguments):
    result = scan("suspicious", *arguments)
    report = Report.model_validate_json(result.stdout)
    assert report.verdict == "suspicious"
    assert report.run.outputs == ("-",)
    assert result.exit_code == 1, "a format never changes the exit code"
    assert bool(result.stderr) != ("--quiet" in arguments)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("verdict, code", [("clean", 0), ("inconclusive", 3), ("suspicious", 1), ("backdoor", 1)])
def test_no_format_changes_the_exit_code(scan, name, verdict, code):
    result = scan(verdict, "--format", name)
    assert result.exit_code == code, result.stderr
    assert verdict in result.stdout.lower()


def test_every_format_can_be_asked_for_by_suffix_and_is_named_in_the_help(scan, tmp_path):
    names = [f"out{suffix}" for each in FORMATS.values() for suffix in (each.suffix, each.also) if suffix]
    assert scan("clean", *(word for name in names for word in ("-o", name))).exit_code == 0
    assert all((tmp_path / name).stat().st_size > 100 for name in names)
    for command in ("scan", "render"):
        shown = " ".join(CliRunner().invoke(app, [command, "--help"]).stdout.split())
        assert f"Format where no suffix says it: {', '.join(FORMATS)}." in shown


def test_the_report_says_where_the_model_lies_in_its_repository(scan, tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    report = Report.model_validate_json(scan("clean", "-o", "-").stdout)
    assert report.run.model_in_repository == "clean"
    monkeypatch.chdir(tmp_path / "deep")
    assert in_repository("m.onnx") == "deep/m.onnx"
    assert in_repository(str(tmp_path / "a b" / "m.onnx")) == "a b/m.onnx"
    assert in_repository("../m.onnx") == "m.onnx"
    assert in_repository("../../m.onnx") == ""
    assert in_repository("\udcff") == ""
    os.symlink(tmp_path, tmp_path.parent / f"{tmp_path.name}-link")
    assert in_repository(f"{tmp_path}-link/m.onnx") == "m.onnx", "the same folder by another name"
    os.symlink("/etc/passwd", "link.onnx")
    assert in_repository("link.onnx") == "deep/link.onnx", "a link is known by its own name"


def test_the_terminal_report_is_the_result_where_no_file_is_asked_for(scan):
    result = scan("backdoor", "--quiet")
    assert "backdoor" in result.stdout.lower()
    assert result.stderr == ""


def test_progress_without_a_terminal_is_one_plain_line_a_stage(scan):
    lines = scan("clean").stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("bdscan: load done in ")


def test_files_are_written_whole_with_ordinary_permissions_and_named_on_stderr(scan, tmp_path):
    (tmp_path / "old.json").write_text("old")
    os.symlink("old.json", tmp_path / "link.json")
    umask = os.umask(0o022)
    try:
        result = scan("clean", "-o", "a.json", "-o", "a.html", "-o", "link.json", "-o", "odd", "--format", "text")
    finally:
        os.umask(umask)
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["run"]["outputs"] == ["a.json", "a.html", "link.json", "odd"]
    assert (tmp_path / "a.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert "clean" in (tmp_path / "odd").read_text().lower()
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "old.json").read_text()) == report
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644
    assert "bdscan: wrote a.html" in result.stderr
    assert not list(tmp_path.glob(".*"))


def test_quiet_with_a_file_prints_nothing(scan):
    result = scan("clean", "--quiet", "-o", "a.json")
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-o", "missing/a.json"], "missing/a.json: there is no folder missing; make it first"),
        (["-o", "folder", "--format", "json"], "this is a folder"),
        (["-o", "a.xyz"], "give --format"),
        (["-o", "samples.npz", "--format", "json"], "is an input and would be overwritten"),
        (["-o", "a.json", "-o", "./a.json"], "named twice"),
        (["-o", "-", "-o", "-"], "named twice"),
        (["--format", "docx"], "no format 'docx'"),
        (["--labels", "none.txt"], "--labels: cannot read 'none.txt'"),
        (["--rules", "none.toml"], "--rules: cannot read"),
        (["--reference", "folder"], "is a folder"),
        (["--arch", "none.py:make"], "--arch: cannot read 'none.py'"),
        (["--labels", "empty"], "--labels: 'empty' is empty"),
        (["--labels", "a\0b"], "not a path"),
        (["--threads", "0"], "--threads: input should be greater than or equal to 1"),
        (["--seed", "-1"], "--seed"),
        (["--memory-gb", "nan"], "--memory-gb"),
        (["--detectors", "\udcff"], "not valid UTF-8"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_before_the_scan_starts(scan, tmp_path, arguments, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    result = scan("clean", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("bdscan: ")
    assert words in result.stderr
    assert scan.calls == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "clean"])


def test_a_read_only_folder_is_found_out_before_the_scan(scan, tmp_path):
    result = scan("clean", "-o", "/proc/a.json")
    assert result.exit_code == 2
    assert "/proc/a.json: cannot be written" in result.stderr
    assert scan.calls == []


def test_a_device_is_written_to_not_replaced(scan):
    assert scan("clean", "-o", "/dev/null", "--format", "json").exit_code == 0
    assert scan("clean", "-q", "--summary", "/dev/null").exit_code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_the_reader_of_a_pipe_gets_the_report(scan, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    assert scan("clean", "-o", "pipe", "--format", "json").exit_code == 0
    reader.join(10)
    assert json.loads(got[0])["verdict"] == "clean"


def test_a_full_disk_is_one_line_and_leaves_nothing(scan, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "a.json").write_text("old")
    result = scan("clean", "-o", "a.json")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "bdscan: -o a.json: cannot be written (No space left on device); nothing was left there"
    )
    assert (tmp_path / "a.json").read_text() == "old"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UsageError("give --arch"), 2, "give --arch"),
        (CannotJudge("the weights hold NaN"), 3, "the weights hold NaN"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyError("x\x1b[2J"), 3, "unexpected KeyError: 'x\\x1b[2J'; --debug shows where"),
        (SystemExit(143), 143, None),
    ],
)
def test_errors_of_a_scan_are_one_line_and_their_code(scan, monkeypatch, error, code, line):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("bdscan.api.run", fail)
    result = scan("clean", "-o", "a.json")
    assert result.exit_code == code
    assert result.stderr == ("" if line is None else f"bdscan: {line}\n")
    assert not os.path.exists("a.json")


def test_debug_shows_where(scan, monkeypatch):
    monkeypatch.setattr("bdscan.api.run", lambda *args, **kwargs: {}["absent"])
    assert "test_scan.py" in scan("clean", "--debug").stderr


def test_every_option_reaches_the_settings(scan, files):
    for name in ("labels.txt", "ref.onnx", "a.toml", "b.toml", "net.py"):
        files(name)
    given = {
        "arch": "net.py:make", "labels": "labels.txt", "reference": "ref.onnx", "reference_arch": "torchvision:vgg11",
        "preprocessing": "scale=255", "budget": "quick", "device": "cpu", "seed": "5", "threads": "1",
        "memory_gb": "2.5", "time_limit": "60",
    }  # fmt: skip
    flags = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    flags += ["--detectors", "steps, inversion", "--rules", "a.toml", "--rules", "b.toml", "--no-isolation"]
    assert scan("clean", *flags).exit_code == 0
    (settings, isolate), = scan.calls  # fmt: skip
    assert not isolate
    assert settings == Settings.model_validate(
        {"model": "clean", "samples": "samples.npz", **given}
        | {"detectors": ("steps", "inversion"), "rules": ("a.toml", "b.toml")}
    )


def test_the_defaults_of_the_command_are_those_of_the_settings(scan):
    assert scan("clean").exit_code == 0
    assert scan.calls == [(Settings(model="clean", samples="samples.npz"), True)]
    options = set(inspect.signature(scan_command).parameters) - {"models"} | {"model"}
    assert set(Settings.model_fields) <= options


def test_options_that_do_not_exist_are_usage_errors(scan):
    for arguments in (["--nonsense"], ["--budget", "huge"], ["--fail-on", "clean"]):
        assert scan("clean", *arguments).exit_code == 2
