from xml.etree import ElementTree

import pytest
import sample

from bdscan.formats import render
from bdscan.report import Report


def suite_of(report: Report) -> ElementTree.Element:
    root = ElementTree.fromstring(render(report, "junit"))
    (suite,) = root
    for counted in (root, suite):
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(counted.attrib[count]) == len(suite.findall(f"testcase/{tag}"))
        assert int(counted.attrib["tests"]) == len(suite.findall("testcase"))
    return suite


def outcomes(report: Report, kind: str) -> dict[str, str]:
    cases = suite_of(report).findall(f"testcase[@classname='bdscan.{kind}']")
    return {case.attrib["name"]: "+".join(part.tag for part in case) for case in cases}


@pytest.mark.parametrize(
    "verdict, outcome",
    [("clean", "system-out"), ("suspicious", "failure"), ("backdoor", "failure"), ("inconclusive", "error")],
)
def test_only_a_clean_verdict_passes(verdict: str, outcome: str) -> None:
    report = sample.REPORTS[verdict]()
    assert outcomes(report, "verdict") == {"resnet18_cifar10.onnx": outcome}
    suite = suite_of(report)
    assert (int(suite.attrib["failures"]) + int(suite.attrib["errors"]) == 0) == (verdict == "clean")
    said = suite.findtext(f"testcase/{outcome}")
    assert said is not None
    assert said.splitlines()[outcome == "system-out"] == report.summary


def test_findings_fail_and_weaknesses_do_not() -> None:
    assert outcomes(sample.backdoor(), "finding") == {
        "1: universal-trigger → 3 · cat": "failure",
        "2: source-specific-trigger → 8 · ship": "failure",
        "3: natural-trigger → 5 · dog": "system-out",
    }
    failure = suite_of(sample.backdoor()).find("testcase/failure[@type='universal-trigger']")
    assert failure is not None
    assert "97.8 % (95 % interval 92.3 % to 99.4 %) of 90 held-out images" in str(failure.text)
    assert "MITRE ATLAS AML.T0018" in str(failure.text)


def test_stages() -> None:
    stages = outcomes(sample.backdoor(), "stage")
    assert {name: how for name, how in stages.items() if how} == {"sensitivity": "skipped", "margin": "error"}
    assert len(stages) == 8
    steps = suite_of(sample.backdoor()).find("testcase[@name='steps']")
    assert steps is not None
    assert steps.attrib["time"] == "21.400"


@pytest.mark.parametrize("text", [*sample.HOSTILE, *sample.MARKUP])
def test_names_stay_text(text: str) -> None:
    plain, bad = suite_of(sample.hostile("name")), suite_of(sample.hostile(text))
    assert [each.tag for each in bad.iter()] == [each.tag for each in plain.iter()]
    assert all(value.isprintable() and value for each in bad.iter() for value in each.attrib.values())
    assert "<!" not in render(sample.hostile(text), "junit")
