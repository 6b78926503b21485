"""CycloneDX 1.6: the model as a component, the findings as vulnerabilities that affect it.

The library has no model card yet; what the scan says of the model goes into properties. An inconclusive scan has an
entry that says so, because a list without vulnerabilities reads as an all-clear.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.impact_analysis import ImpactAnalysisResponse, ImpactAnalysisState
from cyclonedx.model.tool import ToolRepository
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityAdvisory,
    VulnerabilityAnalysis,
    VulnerabilityRating,
    VulnerabilityScoreSource,
    VulnerabilitySeverity,
    VulnerabilitySource,
)
from cyclonedx.output.json import JsonV1Dot6

from bdscan.formats import machine, story
from bdscan.report import Finding, Report, Severity, Verdict

MODEL: Final = "model"
SOURCE: Final = VulnerabilitySource(name="bdscan")
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)  # the library would put today's date where a report has none
MALICIOUS: Final = 506  # CWE-506: embedded malicious code
WEAK: Final = 1039  # CWE-1039: inadequate handling of adversarial input
SEVERITIES: Final = {severity: VulnerabilitySeverity(severity.value) for severity in Severity}


def render(report: Report) -> str:
    """The same report gives the same bytes: the serial number is made of the report, the date is the scan's."""
    findings = [_vulnerability(*each) for each in _numbered(report.findings)]
    if report.verdict is Verdict.INCONCLUSIVE:
        findings.append(_not_judged(report))
    content = report.model_dump_json(exclude={"run"})
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, content),
        metadata=_metadata(report),
        components=[_model(report)],
        vulnerabilities=findings,
    )
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library sorts by content and puts its own keys last; a reader wants the worst first, as in other formats.
    order = {str(each.bom_ref.value): number for number, each in enumerate(findings)}
    written.get("vulnerabilities", []).sort(key=lambda each: order[each["bom-ref"]])
    head = {key: written[key] for key in ("$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata")}
    return json.dumps(head | written, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _metadata(report: Report) -> BomMetaData:
    tool = Component(
        name=report.tool.name,
        version=machine.said(report.tool.version),
        type=ComponentType.APPLICATION,
        bom_ref="bdscan",
    )
    return BomMetaData(timestamp=machine.started(report) or BEGINNING, tools=ToolRepository(components=[tool]))


def _model(report: Report) -> Component:
    facts = [
        ("verdict", report.verdict.value),
        ("summary", machine.said(report.summary)),
        ("path", machine.said(report.subject.path)),
        ("calibration", machine.said(story.calibration(report))),
        *((name.lower().replace(" ", "-"), machine.said(value)) for name, value in story.facts(report)[:4]),
        ("subject-digest", machine.said(report.subject.digest)),
        *((f"waiver:{machine.said(name)}", machine.said(what)) for name, what in story.waivers(report)),
        *(("not-examined", machine.said(each)) for each in report.not_examined),
        *(
            (f"stage:{machine.said(name)}", f"{outcome}: {machine.said(why)}")
            for name, outcome, why in story.gaps(report)
        ),
    ]
    return Component(
        name=machine.model_name(report),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        description=machine.said(f"Image classifier, {report.subject.format}, {len(report.subject.classes)} classes"),
        hashes=_hashes(machine.sha256(report) or ""),
        components=[
            Component(
                name=machine.said(file.path, "file"),
                type=ComponentType.FILE,
                bom_ref=f"file-{number}",
                hashes=_hashes(file.sha256),
                properties=_properties([("role", file.role)]),
            )
            for number, file in enumerate(report.subject.files, start=1)
            if file.role != "model"
        ],
        properties=_properties(facts),
    )


def _hashes(digest: str) -> list[HashType]:
    known = machine.SHA256.fullmatch(digest)
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if known else []


def _numbered(findings: Iterable[Finding]) -> Iterable[tuple[Finding, str]]:
    listed = tuple(findings)
    return zip(listed, machine.fingerprints(listed), strict=True)


def _vulnerability(finding: Finding, fingerprint: str) -> Vulnerability:
    facts = [
        ("confidence", finding.confidence.value),
        ("confirmed", str(finding.confirmed).lower()),
        ("weakness", str(finding.weakness).lower()),
        ("works-on", machine.said(story.affected(finding))),
        *(("catalogue", each) for each in machine.identifiers(finding.references)),
    ]
    score = Decimal(machine.SCORES[finding.severity])
    rating = VulnerabilityRating(
        source=SOURCE, score=score, severity=SEVERITIES[finding.severity], method=VulnerabilityScoreSource.OTHER
    )
    state = ImpactAnalysisState.EXPLOITABLE if finding.confirmed else ImpactAnalysisState.IN_TRIAGE
    return Vulnerability(
        bom_ref=f"finding-{fingerprint}",
        id=machine.rule_id(finding),
        source=SOURCE,
        ratings=[rating],
        cwes=[WEAK if finding.weakness else MALICIOUS],
        description=machine.said(finding.title, machine.rule_id(finding)),
        detail=machine.account(finding),
        recommendation=machine.said(finding.remedy),
        advisories=[
            VulnerabilityAdvisory(title=machine.said(each.title), url=XsUri(url))
            for each in finding.references
            if (url := machine.address(each.url))
        ],
        analysis=None if finding.weakness and finding.waived is None else _analysis(finding, state),
        affects=[BomTarget(ref=MODEL)],
        properties=_properties(facts),
    )


def _analysis(finding: Finding, state: ImpactAnalysisState) -> VulnerabilityAnalysis:
    """A waiver changes what is done about a finding, not what it is."""
    if finding.waived is None:
        return VulnerabilityAnalysis(state=state)
    detail = f"Waived {machine.said(story.waived(finding))}"
    return VulnerabilityAnalysis(state=state, responses=[ImpactAnalysisResponse.WILL_NOT_FIX], detail=detail)


def _not_judged(report: Report) -> Vulnerability:
    words = story.words(report)
    return Vulnerability(
        bom_ref="not-judged",
        id=machine.NOT_JUDGED,
        source=SOURCE,
        ratings=[VulnerabilityRating(source=SOURCE, severity=VulnerabilitySeverity.UNKNOWN)],
        description=words.headline,
        detail=f"{machine.said(report.summary)} {words.meaning}",
        recommendation=words.advice,
        analysis=VulnerabilityAnalysis(state=ImpactAnalysisState.IN_TRIAGE),
        affects=[BomTarget(ref=MODEL)],
    )


def _properties(facts: Iterable[tuple[str, Any]]) -> list[Property]:
    return [Property(name=f"bdscan:{name}", value=value) for name, value in facts]
