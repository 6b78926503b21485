import json
import os
import subprocess
import sys

import pytest
import sample

from bdscan.formats import FORMATS, format_for, render
from bdscan.report import Report

REPORTS = {"backdoor": sample.backdoor, "clean": sample.clean, "inconclusive": sample.inconclusive}


@pytest.mark.parametrize("name", REPORTS)
def test_json_is_the_report(name: str) -> None:
    report = REPORTS[name]()
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


def test_suffix_chooses_the_format() -> None:
    for name, each in FORMATS.items():
        assert format_for(f"some.dir/Report{each.suffix.upper()}") == name
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
