"""SARIF 2.1.0, with what GitHub code scanning asks for beyond the standard.

A weakness is a `note`. An inconclusive scan is a run that did not succeed (GitHub then keeps the alerts of the last
good scan open, where an empty list of results would close them), and it has a result that says so, for programs that
only count results. Stages that were skipped or failed are notifications of the run.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

from bdscan.formats import machine, story
from bdscan.formats.escaped import sarif
from bdscan.formats.sarif_rules import BACKDOOR, NOT_JUDGED, NOTIFICATIONS, descriptor, level
from bdscan.report import Finding, Report, Verdict

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SEMANTIC: Final = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")


def render(report: Report) -> str:
    """One run, one result a finding. ASCII only, as our JSON is."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(log, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _run(report: Report) -> dict[str, Any]:
    findings = report.findings
    if report.verdict is Verdict.INCONCLUSIVE:
        findings = (NOT_JUDGED.model_copy(update={"message": report.summary}), *findings)
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(machine.rule_id(finding), []).append(finding)
    index = {name: number for number, name in enumerate(by_rule)}
    uri = machine.model_uri(report)
    results = []
    waivers = bool(report.waivers or any(finding.waived for finding in findings))
    for finding, fingerprint in zip(findings, machine.fingerprints(findings), strict=True):
        rule = machine.rule_id(finding)
        result = {"ruleId": rule, "ruleIndex": index[rule], **_result(finding, fingerprint, uri)}
        # 3.27.23: either every result of a run says whether it is suppressed, or none does.
        results.append(result | ({"suppressions": _suppressions(finding)} if waivers else {}))
    version = machine.said(report.tool.version)
    # informationUri: bdscan has no home page; this is what it looks for.
    driver: dict[str, Any] = {"name": report.tool.name, "version": version, "informationUri": BACKDOOR}
    if SEMANTIC.fullmatch(version):
        driver["semanticVersion"] = version
    driver["rules"] = [descriptor(name, alike) for name, alike in by_rule.items()]
    driver["notifications"] = list(NOTIFICATIONS.values())
    return {
        "tool": {"driver": driver},
        # A category for each model: GitHub would take the upload of a second model for the first one, repaired.
        "automationDetails": {"id": f"bdscan/{uri}/"},
        "invocations": [_invocation(report)],
        "artifacts": [_artifact(report, uri)],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": _properties(report),
    }


def _result(finding: Finding, fingerprint: str, uri: str) -> dict[str, Any]:
    own: dict[str, Any] = {
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "confirmed": finding.confirmed,
        "weakness": finding.weakness,
    }
    if finding.target is not None:
        own["target"] = finding.target.index
        own["sources"] = [source.index for source in finding.sources]
    if finding.asr is not None:
        own["heldOutSuccess"] = finding.asr
    return {
        "level": level(finding),
        "message": {"text": sarif(machine.account(finding))},
        # A model has no lines; GitHub shows no alert without one.
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}}],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
        "properties": own,
    }


def _suppressions(finding: Finding) -> list[dict[str, Any]]:
    if finding.waived is None:
        return []
    return [
        {
            "kind": "external",
            "status": "accepted",
            "justification": machine.said(finding.waived.reason),
            "properties": {"expires": machine.said(finding.waived.expires)},
        }
    ]


def _artifact(report: Report, uri: str) -> dict[str, Any]:
    artifact: dict[str, Any] = {"location": {"uri": uri}, "roles": ["analysisTarget"]}
    digest = machine.sha256(report)
    return artifact | ({"hashes": {"sha-256": digest}} if digest else {})


def _invocation(report: Report) -> dict[str, Any]:
    invocation: dict[str, Any] = {"executionSuccessful": report.verdict is not Verdict.INCONCLUSIVE}
    for name, moment in (("startTimeUtc", machine.started(report)), ("endTimeUtc", machine.ended(report))):
        if moment is not None:
            invocation[name] = _utc(moment)
    notifications = [
        {
            "level": NOTIFICATIONS[outcome]["defaultConfiguration"]["level"],
            "message": {"text": sarif(f"Stage {machine.said(name)} {outcome}: {machine.said(why)}")},
            "descriptor": {"id": NOTIFICATIONS[outcome]["id"], "index": list(NOTIFICATIONS).index(outcome)},
        }
        for name, outcome, why in story.gaps(report)
    ]
    return invocation | {"toolExecutionNotifications": notifications}


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _properties(report: Report) -> dict[str, Any]:
    """The verdict and its limits, for programs that know bdscan; SARIF has no place of its own for them."""
    known = {"score": report.score, "pValue": report.p_value}
    return {
        "verdict": report.verdict.value,
        "summary": machine.said(report.summary),
        **{name: value for name, value in known.items() if value is not None},
        "calibration": machine.said(story.calibration(report)),
        "notExamined": [machine.said(each) for each in report.not_examined],
        "modelSha256": machine.sha256(report) or "unknown",
        "subjectDigest": machine.said(report.subject.digest),
        **({"waivers": [each.model_dump() for each in report.waivers]} if report.waivers else {}),
    }
