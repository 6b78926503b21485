import html
import json
import os
import re
import subprocess
import sys

import pytest
import sample

from bdscan.formats import FORMATS, format_for, render
from bdscan.report import Measured, Report, Skipped


@pytest.mark.parametrize("name", sample.REPORTS)
def test_json_is_the_report(name: str) -> None:
    report = sample.REPORTS[name]()
    text = render(report, "json")
    assert Report.model_validate_json(text) == report
    assert list(json.loads(text)) == list(Report.model_fields), "the contract's key order"


def test_json_is_ascii_and_a_hostile_name_survives_the_round_trip() -> None:
    report = sample.hostile("".join(sample.HOSTILE))
    text = render(report, "json")
    assert all(char == "\n" or " " <= char <= "~" for char in text)
    assert Report.model_validate_json(text) == report


@pytest.mark.parametrize("name", FORMATS)
def test_equal_reports_give_equal_bytes(name: str) -> None:
    first = render(sample.backdoor(), name)
    assert first == render(sample.backdoor(), name)
    assert first.endswith("\n")


@pytest.mark.parametrize("name", ["html", "text"])
def test_verdict_comes_first_and_what_did_not_run_shows(name: str) -> None:
    text = render(sample.inconclusive(), name).partition("<body")[-1] or render(sample.inconclusive(), name)
    positions = [text.index(words) for words in ("Inconclusive: no answer", "unsupported operators", "Clean accuracy")]
    assert text.index("Inconclusive") < min(positions[1:])
    assert "inversion did not run" in text
    assert "provisional" in text.lower()
    assert "Clean: nothing found" not in text


@pytest.mark.parametrize("verdict", sample.REPORTS)
@pytest.mark.parametrize("name", FORMATS)
def test_what_did_not_run_and_the_limits_show_in_every_format(name: str, verdict: str) -> None:
    report = sample.REPORTS[verdict]()
    shown = " ".join(html.unescape(render(report, name)).split())
    for stage in report.stages:
        if not isinstance(stage, Measured):
            why = stage.reason if isinstance(stage, Skipped) else stage.error
            assert stage.name in shown
            assert stage.outcome in shown.lower()
            assert why in shown
    assert report.not_examined[1] in shown
    assert verdict in shown.lower()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", [*sample.HOSTILE, *sample.MARKUP, "".join(sample.HOSTILE)])
def test_no_format_hands_on_what_steers_a_terminal(name: str, text: str) -> None:
    shown = render(sample.hostile(text), name)
    assert all(char == "\n" or char.isprintable() for char in shown)
    if name in {"json", "sarif", "cyclonedx"}:
        assert shown.isascii()


@pytest.mark.parametrize("name", FORMATS)
def test_only_the_run_part_may_change_what_a_format_says(name: str) -> None:
    """Two runs of one command: the same bytes but for date, host and times."""
    report = sample.backdoor()
    slower = tuple(each.model_copy(update={"seconds": 77.7}) for each in report.run.stages)
    run = report.run.model_copy(update={"started": "2027-02-03T04:05:06Z", "seconds": 990.5, "stages": slower})
    again = render(report.model_copy(update={"run": run}), name).splitlines()
    first = render(report, name).splitlines()
    assert len(first) == len(again)
    timed = r"time|date|start|seconds|2026-11-21|Scanned|\b\d+\.\d+$|228\.4|<td>|^\s*\d+ min"
    assert [a for a, b in zip(first, again, strict=True) if a != b and not re.search(timed, a, re.IGNORECASE)] == []


def test_suffix_chooses_the_format() -> None:
    for name, each in FORMATS.items():
        for suffix in filter(None, (each.suffix, each.also)):
            assert format_for(f"some.dir/Report{suffix.upper()}") == name
    assert format_for("a.cdx.json") == "cyclonedx"
    assert format_for("a.sarif.json") == "sarif"
    assert format_for("sarif.json") == "json"
    assert format_for("a.junit.xml") == format_for("a.xml") == "junit"
    with pytest.raises(ValueError, match="--format"):
        format_for("report")
    with pytest.raises(ValueError, match="choose one of json"):
        render(sample.clean(), "docx")


def test_json_does_not_load_the_template_engine_or_torch() -> None:
    code = "import sys, bdscan.formats.json; print([m for m in ('jinja2', 'rich', 'torch') if m in sys.modules])"
    paths = os.pathsep.join(str(path) for path in sys.path if path)
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": paths}
    )
    assert out.stdout.strip() == "[]"
