"""JUnit XML: a test case for the verdict, one a finding and one a stage.

Only a clean verdict passes; suspicious and backdoor are failures, inconclusive is an error. What is waived is skipped.
A stage that failed is an error whatever the verdict, one that was skipped is a skipped test.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bdscan.formats import machine, story
from bdscan.formats.text import label
from bdscan.report import Failed, Finding, Report, Skipped, Stage, Verdict

HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def render(report: Report) -> str:
    """One suite, named after the model file. `visible` leaves nothing that XML 1.0 forbids."""
    name = machine.model_name(report)
    counted = dict.fromkeys(("tests", "failures", "errors", "skipped", "time"), "0")
    suite = Element("testsuite", {"name": f"bdscan {name}", **counted})
    moment = machine.started(report)
    if moment is not None:
        suite.set("timestamp", moment.strftime("%Y-%m-%dT%H:%M:%S"))
    suite.set("hostname", machine.said(report.run.host, "unknown", 200))
    _properties(suite, report)
    _verdict(suite, report)
    for number, finding in enumerate(report.findings, start=1):
        _finding(suite, finding, number)
    seconds = {stage.name: stage.seconds for stage in report.run.stages}
    for stage in report.stages:
        _stage(suite, stage, seconds.get(stage.name, 0.0))
    counts = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    total = {key: str(count) for key, count in counts.items()} | {"time": f"{report.run.seconds:.3f}"}
    suite.attrib.update(total)
    suites = Element("testsuites", {"name": "bdscan", **total})
    suites.append(suite)
    indent(suites)
    return f"{HEAD}{tostring(suites, encoding='unicode')}\n"


def _properties(suite: Element, report: Report) -> None:
    properties = SubElement(suite, "properties")
    facts = (
        ("verdict", report.verdict.value),
        ("model", machine.said(report.subject.path)),
        ("sha256", machine.sha256(report) or "unknown"),
        ("bdscan", machine.said(report.tool.version)),
        ("calibration", machine.said(story.calibration(report))),
        *((f"waiver {machine.said(name)}", machine.said(what)) for name, what in story.waivers(report)),
    )
    for name, value in (*facts, *(("not examined", machine.said(each)) for each in report.not_examined)):
        SubElement(properties, "property", {"name": name, "value": value})


def _verdict(suite: Element, report: Report) -> None:
    words = story.words(report)
    case = _case(suite, "bdscan.verdict", machine.model_name(report))
    text = f"{machine.said(report.summary)}\n{words.meaning} {words.advice}"
    if report.verdict is Verdict.CLEAN:
        SubElement(case, "system-out").text = f"{words.headline}\n{text}"
    elif story.all_waived(report):
        SubElement(case, "skipped", {"message": f"{words.headline}; every finding is waived"})
    elif report.verdict is Verdict.INCONCLUSIVE:
        SubElement(case, "error", {"message": words.headline, "type": report.verdict.value}).text = text
    else:
        SubElement(case, "failure", {"message": words.headline, "type": report.verdict.value}).text = text


def _finding(suite: Element, finding: Finding, number: int) -> None:
    rule, title = machine.rule_id(finding), machine.said(finding.title, "no title", 300)
    target = "" if finding.target is None else f" → {label(finding.target)}"
    case = _case(suite, "bdscan.finding", f"{number}: {rule}{target}")
    lines = [
        machine.account(finding),
        f"Severity {finding.severity.value}, confidence {finding.confidence.value}.",
        f"What to do: {machine.said(finding.remedy)}",
        *(f"See {machine.said(each.title)}" for each in finding.references if each.title.strip()),
    ]
    text = "\n".join(lines)
    if finding.weakness:  # clean models have them too: it must not turn a clean scan red
        SubElement(case, "system-out").text = f"{title}\n{text}"
    elif finding.waived is not None:
        SubElement(case, "skipped", {"message": f"{title}: waived {machine.said(story.waived(finding))}"})
        SubElement(case, "system-out").text = text
    else:
        SubElement(case, "failure", {"message": title, "type": rule}).text = text


def _stage(suite: Element, stage: Stage, seconds: float) -> None:
    case = _case(suite, "bdscan.stage", machine.said(stage.name, "unnamed", 300), seconds)
    if isinstance(stage, Skipped):
        SubElement(case, "skipped", {"message": machine.said(stage.reason)})
    elif isinstance(stage, Failed):
        SubElement(case, "error", {"message": machine.said(stage.error), "type": "failed"})


def _case(suite: Element, kind: str, name: str, seconds: float = 0.0) -> Element:
    return SubElement(suite, "testcase", {"classname": kind, "name": name, "time": f"{seconds:.3f}"})
