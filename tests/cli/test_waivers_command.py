"""Waivers through the whole command: exit code, notes, reports."""

from __future__ import annotations

import json

import pytest

FILE = 'version = 1\n[[waiver]]\nrule = "{}"\nsubject.digest = "{}"\nreason = "known"\nexpires = {}\n'


@pytest.fixture
def alarming(scan, monkeypatch):
    """The fake scan, with a confirmed finding of rule A where the model's name says backdoor."""
    import bdscan.api
    from bdscan.report import Finding

    fake = bdscan.api.run
    found = Finding(rule="A", title="t", severity="high", confidence="high", message="m", confirmed=True)

    def run(settings, **options):
        report = fake(settings, **options)
        return report.model_copy(update={"findings": (found,)}) if report.verdict == "backdoor" else report

    monkeypatch.setattr("bdscan.api.run", run)
    return scan


def test_a_waiver_turns_one_into_zero_and_says_so(alarming, tmp_path):
    (tmp_path / "w.toml").write_text(FILE.format("A", "0" * 64, "2999-12-31"))
    assert alarming("backdoor", "-q").exit_code == 1
    result = alarming("backdoor", "--waivers", "w.toml", "-o", "r.json", "-o", "r.sarif")
    assert result.exit_code == 0, result.stderr
    assert "the verdict is backdoor; 1 waived finding aside it is clean, which counts" in result.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["verdict"], report["findings"][0]["waived"]["reason"]) == ("backdoor", "known")
    assert "Backdoor found" in result.stdout
    assert "1 of 1 finding is waived" in " ".join(result.stdout.replace("┃", " ").split())


@pytest.mark.parametrize(
    "rule, digest, expires, words",
    [
        ("A", "0" * 64, "2001-01-01", "the waiver of A for 000000000000… expired on 2001-01-01"),
        ("B", "0" * 64, "2999-12-31", "the waiver of B for 000000000000… fits no finding of this scan"),
        ("A", "f" * 64, "2999-12-31", "the waiver of A for ffffffffffff… fits no finding of this scan"),
    ],
)
def test_one_that_covers_nothing_is_said_and_the_finding_counts(alarming, tmp_path, rule, digest, expires, words):
    (tmp_path / "w.toml").write_text(FILE.format(rule, digest, expires))
    for how in ((), ("--quiet",)):
        result = alarming("backdoor", "--waivers", "w.toml", *how)
        assert result.exit_code == 1
        assert words in result.stderr


def test_in_a_table_the_waived_model_still_has_its_verdict(alarming, files, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "w.toml").write_text(FILE.format("A", "0" * 64, "2999-12-31"))
    result = alarming("backdoor", files("clean"), "--waivers", "w.toml", "--summary", "s.json")
    assert result.exit_code == 0
    assert "backdoor, waived" in result.stdout
    assert "1 backdoor, 1 clean" in result.stdout
    row = json.loads((tmp_path / "s.json").read_text())["models"][0]
    assert (row["verdict"], row["standing"], row["waived"], row["exit_code"]) == ("backdoor", "clean", 1, 0)


def test_a_waivers_file_that_is_not_right_stops_the_command_first(alarming, tmp_path):
    (tmp_path / "w.toml").write_text('version = 1\n[[waiver]]\nrule = "A"\n')
    result = alarming("backdoor", "--waivers", "w.toml")
    assert (result.exit_code, alarming.calls) == (2, [])
    assert result.stderr.startswith("bdscan: --waivers: w.toml: waiver.0.subject: Field required")
