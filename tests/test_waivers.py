"""Waivers change the exit code and nothing else; one that has no effect is reported."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "jail"))

import fake_report

from bdscan.errors import UsageError
from bdscan.report import Finding, Measured, Report, Verdict, Waived
from bdscan.settings import Settings
from bdscan.waivers import apply_waivers, load_waivers, problems, standing

TODAY = datetime.date(2026, 6, 15)
MINE, OTHERS = "0" * 64, "f" * 64


def finding(rule: str, **values) -> Finding:
    basic = {"title": rule, "severity": "high", "confidence": "high", "message": f"found by {rule}"}
    return Finding(**{"rule": rule, **basic, **values})


def report(*findings: Finding, verdict: str = "backdoor", **values) -> Report:
    made = fake_report.make(Settings(model="m", samples="s"), verdict=verdict)
    return made.model_copy(update={"findings": findings, "verdict": Verdict(verdict), **values})


def waivers(tmp_path, *entries: tuple[str, str, str]) -> tuple:
    """(rule, digest, expires) each, through the file format."""
    lines = ["version = 1"]
    for rule, digest, expires in entries:
        lines += ["[[waiver]]", f'rule = "{rule}"', f'subject.digest = "{digest}"', 'reason = "known"']
        lines += [f"expires = {expires}"]
    (tmp_path / "w.toml").write_text("\n".join(lines) + "\n")
    return load_waivers(str(tmp_path / "w.toml"))


def test_a_waived_finding_and_the_verdict_stay_and_only_what_stands_changes(tmp_path):
    found = report(finding("A", confirmed=True), finding("B"), finding("W", weakness=True))
    after = apply_waivers(found, waivers(tmp_path, ("A", MINE, "2026-06-15")), TODAY)
    assert (after.verdict, standing(after)) == (Verdict.BACKDOOR, Verdict.SUSPICIOUS)
    assert [each.rule for each in after.findings] == ["A", "B", "W"]
    assert after.findings[0].waived == Waived(reason="known", expires="2026-06-15"), "the last day still counts"
    assert after.findings[1].waived is None
    assert [each.state for each in after.waivers] == ["applied"]
    both = waivers(tmp_path, ("A", MINE, "2027-01-01"), ("B", MINE, "2027-01-01"))
    assert standing(apply_waivers(found, both, TODAY)) is Verdict.CLEAN
    assert standing(found) is Verdict.BACKDOOR


@pytest.mark.parametrize(
    "entry, state",
    [
        (("A", MINE, "2026-06-14"), "expired"),
        (("A", OTHERS, "2027-01-01"), "other-model"),
        (("Z", MINE, "2027-01-01"), "unused"),
        (("A", OTHERS, "2020-01-01"), "expired"),
    ],
)
def test_a_waiver_without_effect_changes_nothing_and_is_reported(tmp_path, entry, state):
    found = report(finding("A", confirmed=True))
    after = apply_waivers(found, waivers(tmp_path, entry), TODAY)
    assert standing(after) is Verdict.BACKDOOR
    assert after.findings == found.findings
    assert [each.state for each in after.waivers] == [state]
    (line,) = problems([after])
    assert entry[0] in line
    assert entry[1][:12] in line
    assert ("expired on" in line) == (state == "expired")


def test_a_waiver_of_another_model_of_the_same_command_is_no_problem(tmp_path):
    entries = waivers(tmp_path, ("A", MINE, "2027-01-01"))
    first = report(finding("A"))
    second = first.model_copy(update={"subject": first.subject.model_copy(update={"digest": OTHERS})})
    both = [apply_waivers(each, entries, TODAY) for each in (second, first)]
    assert [each.waivers[0].state for each in both] == ["other-model", "applied"]
    assert problems(both) == []
    assert standing(both[0]) is Verdict.BACKDOOR


def test_waiving_the_only_alarm_of_an_incomplete_scan_judges_nothing(tmp_path):
    found = report(finding("A"), verdict="suspicious", lacking=("pairs",))
    after = apply_waivers(found, waivers(tmp_path, ("A", MINE, "2027-01-01")), TODAY)
    assert standing(after) is Verdict.INCONCLUSIVE
    nothing = report(finding("W", weakness=True), verdict="inconclusive", stages=(Measured(name="steps"),))
    after = apply_waivers(nothing, waivers(tmp_path, ("W", MINE, "2027-01-01")), TODAY)
    assert standing(after) is Verdict.INCONCLUSIVE


def test_what_a_worker_says_of_waivers_counts_for_nothing():
    lying = report(finding("A", confirmed=True, waived=Waived(reason="trust me", expires="2999-01-01")))
    after = apply_waivers(lying, (), TODAY)
    assert after.findings[0].waived is None
    assert standing(after) is Verdict.BACKDOOR


@pytest.mark.parametrize(
    "content, words",
    [
        ('version = 1\n[[waiver]]\nrule = "A"\nsubject.digest = "D"\nreason = "r"\n', "YYYY-MM-DD"),
        ('version = 1\n[[waiver]]\nrule = "A"\nsubject.digest = "D"\nreason = " "\nexpires = 2999-01-01\n', "reason"),
        ('version = 1\n[[waiver]]\nrule = "A"\nsubject.digest = "ab"\nreason = "r"\nexpires = 2999-01-01\n', "digest"),
        ('version = 1\n[[waiver]]\nrule = "A"\nsubject.digest = "D"\nreason = "r"\nexpires = "soon"\n', "expires"),
        ("version = 1\n[[waivers]]\n", "waivers: Extra inputs"),
        ("version = 2\n", "version"),
        ("[[waiver]\n", "is not TOML"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_not_right_is_refused_as_a_whole(tmp_path, content, words):
    if content is not None:
        (tmp_path / "w.toml").write_text(content.replace('"D"', f'"{MINE}"'))
    with pytest.raises(UsageError, match=words) as raised:
        load_waivers(str(tmp_path / "w.toml"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["json", "html", "text", "sarif", "junit", "markdown", "cyclonedx"])
def test_every_format_shows_waivers_and_hides_nothing(tmp_path, name):
    from bdscan.formats import render

    entries = waivers(tmp_path, ("A", MINE, "2027-01-31"), ("Z", MINE, "2027-02-28"), ("A", MINE, "2020-03-31"))
    shown = render(apply_waivers(report(finding("A", confirmed=True)), entries, TODAY), name)
    for words in ("found by A", "known", "2027-01-31", "2027-02-28", "2020-03-31", "ackdoor"):
        assert words in shown, words


def test_sarif_suppresses_what_is_waived_and_says_of_all_others_that_they_are_not(tmp_path):
    from bdscan.formats import render

    found = report(finding("A", confirmed=True), finding("B"))
    after = apply_waivers(found, waivers(tmp_path, ("A", MINE, "2027-01-31")), TODAY)
    first, second = json.loads(render(after, "sarif"))["runs"][0]["results"]
    (suppression,) = first["suppressions"]
    assert (suppression["kind"], suppression["status"], suppression["justification"]) == (
        "external",
        "accepted",
        "known",
    )
    assert second["suppressions"] == []
    assert all("suppressions" not in each for each in json.loads(render(found, "sarif"))["runs"][0]["results"])


def test_junit_agrees_with_the_exit_code_and_still_names_the_verdict(tmp_path):
    from xml.etree import ElementTree

    from bdscan.formats import render

    entries = waivers(tmp_path, ("A", MINE, "2027-01-31"))
    suites = ElementTree.fromstring(render(apply_waivers(report(finding("A")), entries, TODAY), "junit"))
    assert suites.attrib["failures"] == "0"
    assert "Backdoor found; every finding is waived" in ElementTree.tostring(suites, encoding="unicode")
    partly = apply_waivers(report(finding("A"), finding("B")), entries, TODAY)
    assert ElementTree.fromstring(render(partly, "junit")).attrib["failures"] == "2"
