from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

JAIL_TESTS = Path(__file__).parent.parent / "jail"
sys.path.insert(0, str(JAIL_TESTS))  # fake_report, fake_worker


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The current folder, with a samples file; `files("clean")` makes a model whose fake scan says so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.npz").write_bytes(b"npz")

    def model(name: str) -> str:
        (tmp_path / name).write_bytes(b"model")
        return name

    return model


@pytest.fixture
def scan(files, monkeypatch):
    """Run `bdscan scan NAME --samples samples.npz ...` with a fake scan in place of the worker."""
    import fake_report

    from bdscan.cli.main import app

    calls = []

    def run(settings, *, isolate=True, progress=None, stop=None):
        from bdscan import api

        api.check_files(settings)
        calls.append((settings, isolate))
        progress("load", 0.0)
        progress("load", 1.0)
        return fake_report.make(settings)

    monkeypatch.setattr("bdscan.api.run", run)

    def command(name: str, *arguments: str):
        return CliRunner().invoke(app, ["scan", files(name), "--samples", "samples.npz", *arguments])

    command.calls = calls
    return command
