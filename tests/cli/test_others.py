from __future__ import annotations

import json
import sys
from pathlib import Path

import fake_report
import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.formats import render, repair_html
from bdscan.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample_repair


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


@pytest.fixture
def account(saved, tmp_path):
    """A saved report of a repair, as `bdscan repair` writes it."""
    repair = sample_repair.repaired()
    (tmp_path / "n.repair.json").write_text(repair.model_dump_json(indent=1))
    return repair


def test_render_makes_the_page_of_a_repair_whatever_its_file_is_called(account, tmp_path):
    assert run("render", "n.repair.json", "-o", "n.html").exit_code == 0
    assert (tmp_path / "n.html").read_text() == repair_html.render(account)
    values = json.loads((tmp_path / "n.repair.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps(dict(sorted(values.items()))))
    shown = run("render", "report.json", "--format", "html")
    assert (shown.exit_code, shown.stdout) == (0, repair_html.render(account))


def test_render_shows_a_repair_as_the_command_did(account):
    shown = run("render", "n.repair.json")
    assert shown.exit_code == 0
    assert "before" in shown.stdout
    assert account.summary in " ".join(shown.stdout.split())


@pytest.mark.parametrize("name", ["n.sarif", "n.json", "n.md", "-"])
def test_other_formats_of_a_repair_are_refused_and_nothing_is_written(account, tmp_path, name):
    result = run("render", "n.repair.json", "-o", "n.html", "-o", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert f"-o {name}: the report of a repair can be made into html only" in result.stderr
    assert not (tmp_path / "n.html").exists()


def test_a_repair_that_is_none_is_refused(account, tmp_path):
    values = json.loads((tmp_path / "n.repair.json").read_text())
    values["accuracy"]["after"] = {"hits": 91, "n": 90}
    (tmp_path / "x.json").write_text(json.dumps(values))
    result = run("render", "x.json", "-o", "x.html")
    assert result.exit_code == 2
    assert "Repair is invalid at accuracy.after" in result.stderr
    assert "more hits than there are images" in result.stderr


def test_verify_asks_for_the_report_of_a_scan(account, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"model")
    result = run("verify", "n.repair.json", "m.onnx")
    assert result.exit_code == 2
    assert "is the report of a repair; name that of a scan" in result.stderr


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


def test_limits_explains_every_verdict():
    from bdscan.report import Verdict

    shown = run("limits").stdout
    for verdict in Verdict:
        assert f"\n{verdict} " in shown


@pytest.mark.parametrize("page", ["limits", "README.md"])
def test_the_rates_that_are_told_are_those_of_the_table(page):
    """Whoever makes docs/accuracy.json anew has to tell its rates, and how many networks they lack."""
    root = Path(__file__).parents[2]
    table = json.loads((root / "docs" / "accuracy.json").read_text())
    clean, found = table["overall"]["false_alarms"], table["overall"]["found"]
    text = run("limits").stdout if page == "limits" else (root / page).read_text()
    shown = " ".join(text.split())
    assert f"{clean['k']} of {clean['n']} clean" in shown
    assert f"{found['k']} of {found['n']} backdoored" in shown
    lacking = sum(table["not_surveyed"].values())
    if page == "limits":
        low, high = (round(100 * clean[end]) for end in ("low", "high"))
        assert f"{low} to {high} %" in shown
        assert bool(lacking) == (f"{lacking} more" in shown)
    else:
        assert bool(lacking) == ("is not complete" in shown)


def test_detectors_lists_each_with_what_it_misses():
    registry = pytest.importorskip("bdscan.detectors.registry", reason="the detectors' registry is not there yet")
    shown = run("detectors").stdout
    for about in registry.ABOUTS:
        assert f"{about.name}: {about.title}" in shown
    assert shown.count("  misses: ") == len(registry.ABOUTS) > 0
