import json
from typing import Any

import pytest
import sample
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from bdscan.formats import render
from bdscan.report import Report

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def bom_of(report: Report) -> Any:
    text = render(report, "cyclonedx")
    assert VALIDATOR.validate_str(text) is None
    return json.loads(text)


def properties(of: Any) -> dict[str, str]:
    return {each["name"].removeprefix("bdscan:"): each["value"] for each in of["properties"]}


def test_the_model_is_a_component_with_its_digest() -> None:
    bom = bom_of(sample.backdoor())
    (model,) = bom["components"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "resnet18_cifar10.onnx")
    assert model["hashes"] == [{"alg": "SHA-256", "content": "9f2c1d7e" * 8}]
    assert [(each["name"], each["hashes"][0]["content"]) for each in model["components"]] == [
        ("resnet18_cifar10.onnx.data", "0a1b2c3d" * 8)
    ]
    assert properties(model)["verdict"] == "backdoor"
    assert properties(model)["stage:margin"].startswith("failed: out of memory")
    assert properties(model)["stage:sensitivity"].startswith("skipped: ")
    assert bom["metadata"]["tools"]["components"][0]["name"] == "bdscan"
    assert bom["metadata"]["timestamp"] == "2026-11-21T10:15:00+00:00"


def test_findings_are_vulnerabilities_of_the_model_worst_first() -> None:
    bom = bom_of(sample.backdoor())
    found = bom["vulnerabilities"]
    assert [each["id"] for each in found] == ["universal-trigger", "source-specific-trigger", "natural-trigger"]
    assert {affected["ref"] for each in found for affected in each["affects"]} == {bom["components"][0]["bom-ref"]}
    assert [each["ratings"][0]["severity"] for each in found] == ["critical", "high", "low"]
    assert [each.get("analysis", {}).get("state") for each in found] == ["exploitable", "in_triage", None]
    assert [each["cwes"] for each in found] == [[506], [506], [1039]]
    assert [properties(each)["weakness"] for each in found] == ["false", "false", "true"]
    assert found[0]["advisories"][0]["url"].startswith("https://atlas.mitre.org/")
    assert found[0]["recommendation"] == sample.UNIVERSAL.remedy


@pytest.mark.parametrize(
    "verdict, ids",
    [
        ("clean", ["natural-trigger"]),
        ("suspicious", ["source-specific-trigger", "natural-trigger"]),
        ("inconclusive", ["BD000"]),
    ],
)
def test_no_verdict_but_clean_leaves_the_list_without_an_alarm(verdict: str, ids: list[str]) -> None:
    bom = bom_of(sample.REPORTS[verdict]())
    assert [each["id"] for each in bom["vulnerabilities"]] == ids
    assert properties(bom["components"][0])["verdict"] == verdict


def test_equal_findings_stay_two_entries_and_no_findings_are_none() -> None:
    twice = bom_of(sample.report(findings=(sample.UNIVERSAL, sample.UNIVERSAL)))
    assert len({each["bom-ref"] for each in twice["vulnerabilities"]}) == 2
    assert bom_of(sample.clean().model_copy(update={"findings": ()})).get("vulnerabilities", []) == []


@pytest.mark.parametrize("text", [*sample.HOSTILE, *sample.MARKUP, "".join(sample.HOSTILE)])
def test_hostile_names_are_valid_and_inert(text: str) -> None:
    bom = bom_of(sample.hostile(text))
    values = json.dumps(bom, ensure_ascii=False)
    assert values.isprintable()
    assert bom["metadata"]["timestamp"].startswith("1970-01-01"), "a date that is none, which must be there"
