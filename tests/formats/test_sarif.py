import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
from jsonschema import Draft4Validator, ValidationError

from bdscan.formats import machine, render
from bdscan.formats.text import visible
from bdscan.report import Finding, Report, Severity, Verdict
from bdscan.resources import resource
from bdscan.rules import load_rules

SCHEMA = Path(__file__).parents[3] / "shared" / "schemas" / "sarif-schema-2.1.0.json"
ALL = [make() for make in sample.REPORTS.values()] + [sample.hostile(text) for text in sample.HOSTILE + sample.MARKUP]


def run_of(report: Report) -> Any:
    (run,) = json.loads(render(report, "sarif"))["runs"]
    return run


def real() -> Report:
    """A finding of every rule that bdscan ships."""
    findings = tuple(
        sample.UNIVERSAL.model_copy(
            update=rule.model_dump(include={"title", "severity", "weakness", "remedy"})
            | {"rule": rule.id, "references": rule.references}
        )
        for rule in load_rules(resource("rules"))
    )
    return sample.report(findings=findings)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(child)


@pytest.fixture(scope="module")
def schema() -> Draft4Validator:
    if not SCHEMA.is_file():
        pytest.skip("the OASIS schema is not in ../shared/schemas")
    return Draft4Validator(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("report", [*ALL, real(), sample.many(43)])
def test_valid_against_the_schema_of_the_standard(schema: Draft4Validator, report: Report) -> None:
    log = json.loads(render(report, "sarif"))
    schema.validate(log)
    log["runs"][0]["results"] = "none"
    with pytest.raises(ValidationError):
        schema.validate(log)


def test_clean_under_the_sarif_multitool(tmp_path: Path) -> None:
    """`npm install -g @microsoft/sarif-multitool@5.7.0`; its rules for GitHub want every finding to have a place."""
    tool = shutil.which("sarif-multitool")
    if tool is None:
        pytest.skip("sarif-multitool is not installed")
    reports = {"real": real(), **{name: make() for name, make in sample.REPORTS.items()}}
    for number, text in enumerate(sample.HOSTILE + sample.MARKUP):
        reports[f"hostile-{number}"] = sample.hostile(text)
    for name, report in reports.items():
        (tmp_path / f"{name}.sarif").write_text(render(report, "sarif"))
    found = tmp_path / "found.json"
    # Its launcher hands the words to a shell, so the semicolon needs quotes of its own.
    command = [tool, "validate", str(tmp_path / "*.sarif"), "--rule-kind", "'Sarif;Ghas'", "-o", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, env={**_environment(), "HOME": str(tmp_path)})
    assert found.is_file(), done.stdout + done.stderr
    assert f"{len(reports)} files scanned" in done.stdout
    results = json.loads(found.read_text())["runs"][0]["results"]
    assert [(each["ruleId"], each["message"], each["locations"]) for each in results] == []


def _environment() -> dict[str, str]:
    import os

    return {"PATH": os.environ["PATH"], "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}


@pytest.mark.parametrize("report", [*ALL, real()])
def test_what_github_needs(report: Report) -> None:
    run = run_of(report)
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert rule["help"]["text"]
        assert rule["help"]["markdown"]
        assert re.fullmatch(r"\d\.\d", rule["properties"]["security-severity"])
        assert "security" in rule["properties"]["tags"]
        assert len(rule["id"]) < 256
        assert len(rule["name"]) < 256
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (place,) = (each["physicalLocation"] for each in result["locations"])
        assert place["region"] == {"startLine": 1}
        assert re.fullmatch(r"(?![/.])[\w./~%-]+", place["artifactLocation"]["uri"], re.ASCII)
        assert re.fullmatch(r"[0-9a-f]{16}:\d+", result["partialFingerprints"]["primaryLocationLineHash"])
    hashes = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(hashes)) == len(hashes)
    assert "" not in set(strings(run))


def test_alarms_name_the_entries_of_public_catalogues() -> None:
    tags = {rule["id"]: rule["properties"]["tags"] for rule in run_of(real())["tool"]["driver"]["rules"]}
    assert {"MITRE ATLAS AML.T0018", "OWASP ML10:2023"} <= set(tags["BD101"])
    assert "MITRE ATLAS AML.T0018" in tags["BD201"]
    assert tags["BD301"] == ["security", "machine-learning"]


def test_levels_and_severities() -> None:
    run = run_of(sample.backdoor())
    assert [result["level"] for result in run["results"]] == ["error", "error", "note"]
    scores = [float(rule["properties"]["security-severity"]) for rule in run["tool"]["driver"]["rules"]]
    assert scores[0] >= 9 > scores[1] >= 7 > 4 > scores[2], "GitHub's critical, high and low"
    medium = sample.UNIVERSAL.model_copy(update={"severity": Severity.MEDIUM})
    low = sample.UNIVERSAL.model_copy(update={"severity": Severity.LOW})
    assert [r["level"] for r in run_of(sample.report(findings=(medium, low)))["results"]] == ["warning"] * 2
    assert (
        run_of(sample.report(findings=(low, medium)))["tool"]["driver"]["rules"][0]["properties"]["security-severity"]
        == machine.SCORES[Severity.MEDIUM]
    )


@pytest.mark.parametrize("verdict", sample.REPORTS)
def test_an_inconclusive_scan_is_no_success_and_no_empty_list(verdict: str) -> None:
    run = run_of(sample.REPORTS[verdict]())
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] == (verdict != "inconclusive")
    alarms = [result for result in run["results"] if result["level"] != "note"]
    assert bool(alarms) == (verdict != "clean")
    if verdict == "inconclusive":
        assert [result["ruleId"] for result in alarms] == ["BD000"]
        assert "DeformConv" in alarms[0]["message"]["text"]
    levels = {each["level"] for each in invocation["toolExecutionNotifications"]}
    assert levels == (set() if verdict == "clean" else {"error", "warning"})


def test_fingerprints_outlive_retraining_and_renaming_but_tell_findings_apart() -> None:
    def hashes(*findings: Finding) -> list[str]:
        return machine.fingerprints(findings)

    one, other = sample.UNIVERSAL, sample.SOURCE_SPECIFIC
    changed = one.model_copy(update={"asr": 0.5, "message": "x", "target": sample.Label(index=3, name="puss")})
    assert hashes(one) == hashes(changed)
    assert hashes(one, one)[1] == hashes(one)[0][:-1] + "2"
    assert len({hashes(each)[0] for each in (one, other, other.model_copy(update={"sources": ()}))}) == 3
    assert hashes(one) == ["6b430999150f22ef:1"], "an alert on GitHub would be closed and opened again"


@pytest.mark.parametrize(
    "path, recorded, uri",
    [
        ("models/net.onnx", "", "models/net.onnx"),
        ("./models//a/../net.onnx", "", "models/net.onnx"),
        ("net.onnx", "deep/models/net.onnx", "deep/models/net.onnx"),
        ("/home/someone/net.onnx", "", "net.onnx"),
        ("../net.onnx", "", "net.onnx"),
        ("a b/né#1?.onnx", "", "a%20b/n%C3%A9%231%3F.onnx"),
        ("c:net.onnx", "", "c%3Anet.onnx"),
        ("\u202etxt\n.onnx", "", "%E2%80%AEtxt%0A.onnx"),
        ("", "", "model"),
        ("..", "", "model"),
    ],
)
def test_paths_are_those_of_the_repository_as_relative_uris(path: str, recorded: str, uri: str) -> None:
    report = sample.backdoor()
    subject = report.subject.model_copy(update={"path": path})
    run = report.run.model_copy(update={"model_in_repository": recorded})
    made = run_of(report.model_copy(update={"subject": subject, "run": run}))
    assert made["artifacts"][0]["location"]["uri"] == uri
    assert made["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": uri, "index": 0}
    assert made["automationDetails"]["id"] == f"bdscan/{uri}/"


@pytest.mark.parametrize("text", [*sample.HOSTILE, *sample.MARKUP, "".join(sample.HOSTILE)])
def test_names_in_messages_are_inert(text: str) -> None:
    run = run_of(sample.hostile(text))
    assert all(each == visible(each) for each in strings(run) if "\n" not in each)
    said = [result["message"]["text"] for result in run["results"]]
    said += [each["message"]["text"] for each in run["invocations"][0]["toolExecutionNotifications"]]
    for message in said:
        assert "](" not in message, "an embedded link"
        assert "{" not in message.replace("{{", ""), "a placeholder"
    for rule in run["tool"]["driver"]["rules"]:
        assert not re.search(r"(?<!\\)<(?!https://atlas|https://owasp|!-- -->)\w", rule["help"]["markdown"])
        assert not re.search(r"(?<!\\)\]\(|(?<!\\)://", rule["help"]["markdown"])
        assert all(line == visible(line) for line in rule["help"]["text"].splitlines())


def test_a_date_that_is_none_is_left_out() -> None:
    report = sample.backdoor()
    bad = report.run.model_copy(update={"started": "soon", "seconds": 1e300})
    assert "startTimeUtc" not in run_of(report.model_copy(update={"run": bad}))["invocations"][0]
    far = report.run.model_copy(update={"seconds": 1e300})
    assert list(run_of(report.model_copy(update={"run": far}))["invocations"][0])[:2] == [
        "executionSuccessful",
        "startTimeUtc",
    ]
    assert report.verdict is Verdict.BACKDOOR
