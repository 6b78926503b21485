"""The job without Ray: what a node answers, what is believed of it, and the options that lead there."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from bdscan.cache_key import program_digest
from bdscan.errors import UsageError
from bdscan.jail import wire
from bdscan.jail.parent import WorkerFailed
from bdscan.on_ray import job
from bdscan.settings import Settings

SETTINGS = Settings(model="none.onnx", samples="s")


def answer(**change: object) -> wire.Frame:
    order = {"settings": SETTINGS.model_dump(), "folder": os.getcwd(), "program": program_digest(), **change}
    (frame,) = wire.Reader().feed(job.answered(job.Order.model_validate(order).model_dump_json().encode()))
    return frame


def scan_that_hears(monkeypatch, content: bytes):
    monkeypatch.setattr(job, "call", lambda *args, **kwargs: content)
    monkeypatch.setattr(job, "gpus_for", lambda device: 0)
    return job.scan_on_ray(lambda text: None)(SETTINGS, lambda stage, share: None, threading.Event())


def test_a_node_with_another_program_or_without_the_files_refuses(tmp_path):
    other = answer(program="0" * 64)
    assert other.code == "usage"
    assert "has another bdscan, Python or library than this machine" in other.message
    absent = answer(folder=str(tmp_path / "absent"))
    assert absent.code == "usage"
    assert absent.message.endswith("(No such file or directory); Ray nodes must share the file system")
    missing = answer()
    assert (missing.code, missing.message.partition(" (")[0]) == ("usage", "model: cannot read 'none.onnx'")


def test_an_unexpected_error_on_a_node_is_an_answer_too(monkeypatch):
    monkeypatch.setattr("bdscan.api.run", lambda settings: {}["absent"])
    assert answer() == wire.Failure(code="internal", message="unexpected KeyError: 'absent'")
    (frame,) = wire.Reader().feed(job.answered(b"{}"))
    assert frame.code == "internal"


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "no answer at all"),
        (b"Xjunk", "unknown kind"),
        (wire.encode(wire.Step(stage="load", share=1)), "another question"),
        (wire.encode(wire.Failure(code="internal", message="a\x1b[31m\nb")), r"a\\x1b\[31m b$"),
        (wire.encode(wire.Failure(code="judge", message="near chance")), "^near chance$"),
    ],
)
def test_what_is_no_report_is_never_a_verdict(monkeypatch, content, words):
    with pytest.raises(WorkerFailed, match=words):
        scan_that_hears(monkeypatch, content)


def test_a_usage_error_stays_one(monkeypatch):
    with pytest.raises(UsageError, match=r"^no samples$"):
        scan_that_hears(monkeypatch, wire.encode(wire.Failure(code="usage", message="no samples")))


def test_without_ray_it_is_one_line(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from bdscan.cli.main import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "ray", None)

    def scan(*words: str):
        result = CliRunner().invoke(app, ["scan", "m.onnx", "--samples", "m.onnx", *words])
        return result.exit_code, result.stdout, result.stderr

    missing = "bdscan: --executor ray: Ray is not installed; install bdscan with the extra `ray`\n"
    assert scan("--executor", "ray") == (2, "", missing)
    code, _, line = scan("--ray-address", "head:6379")
    assert (code, line) == (2, "bdscan: --ray-address is for --executor ray; add it, or leave out the address\n")
    code, _, line = scan("--executor", "ray", "--no-isolation")
    assert (code, line) == (2, "bdscan: --no-isolation scans in this process; leave out --executor ray\n")
    result = CliRunner().invoke(app, ["zoo", "plan", "scan-judge", "models", "--jobs", "2"])
    assert result.exit_code == 2
    assert result.stderr == "bdscan: --ray-address and --jobs are for --executor ray; add it\n"
    result = CliRunner().invoke(app, ["zoo", "plan", "scan-judge", "models", "--executor", "ray"])
    assert (result.exit_code, result.stderr) == (2, missing)


def test_a_found_file_cannot_name_a_cluster_but_a_given_one_can(monkeypatch, tmp_path):
    """Machines of a cluster are trusted with code, and a file may have come with the model."""
    from bdscan.cli.config import discovered, from_file

    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bdscan.toml"
    file.write_text('executor = "ray"\nray-address = "evil:6379"\n')
    with pytest.raises(UsageError, match="ray-address names machines that are trusted with code"):
        discovered()
    assert from_file(file, trusted=True).values == {"executor": "ray", "ray_address": "evil:6379"}
