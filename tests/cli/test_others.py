from __future__ import annotations

import json

import fake_report
import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.formats import render
from bdscan.settings import Settings


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = fake_report.make(Settings(model="backdoor", samples="s"))
    (tmp_path / "r.json").write_text(render(report, "json"))
    return report


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_render_makes_what_the_scan_would_have_made(saved, tmp_path):
    assert run("render", "r.json", "-o", "r.html", "-o", "again.json").exit_code == 0
    assert (tmp_path / "r.html").read_text() == render(saved, "html")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "r.json").read_text()
    shown = run("render", "r.json")
    assert shown.exit_code == 0, "rendering is no judging"
    assert "backdoor" in shown.stdout.lower()


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is no bdscan report"),
        (b"[" * 100_000, "is no bdscan report"),
        (b'{"schema_version": "2.0"}', "is no bdscan report of schema 1.0"),
        (None, "cannot read"),
    ],
)
def test_render_refuses_what_is_no_report(saved, tmp_path, content, words):
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    result = run("render", "x.json", "-o", "out.html")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out.html").exists()


def test_render_never_overwrites_its_input(saved):
    result = run("render", "r.json", "-o", "r.json")
    assert result.exit_code == 2
    assert "is an input" in result.stderr


def test_a_tampered_verdict_word_is_refused(saved, tmp_path):
    values = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps(values | {"verdict": "spotless"}))
    result = run("render", "x.json")
    assert result.exit_code == 2
    assert "verdict" in result.stderr


def test_limits_explains_every_verdict_and_says_that_rates_are_provisional():
    from bdscan.report import Verdict

    shown = run("limits").stdout
    for verdict in Verdict:
        assert f"\n{verdict} " in shown
    assert "provisional until calibrated" in shown


def test_detectors_lists_each_with_what_it_misses():
    registry = pytest.importorskip("bdscan.detectors.registry", reason="the detectors' registry is not there yet")
    shown = run("detectors").stdout
    for about in registry.ABOUTS:
        assert f"{about.name}: {about.title}" in shown
    assert shown.count("  misses: ") == len(registry.ABOUTS) > 0
