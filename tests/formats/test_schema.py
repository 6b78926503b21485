import json
from pathlib import Path

import pytest
import sample
from jsonschema import Draft202012Validator, ValidationError
from pydantic import BaseModel

from bdscan.formats import render
from bdscan.formats.schema import render_schema
from bdscan.repair.outcome import Repair
from bdscan.report import Report

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = DOCS / "report.schema.json"


@pytest.mark.parametrize("name, model, where", [("report", Report, "formats"), ("repair", Repair, "repair")])
def test_published_schemas_are_the_generated_ones(name: str, model: type[BaseModel], where: str) -> None:
    assert (DOCS / f"{name}.schema.json").read_text(encoding="utf-8") == render_schema(model), (
        f"run: python -m bdscan.{where}.schema > docs/{name}.schema.json"
    )


@pytest.mark.parametrize(
    "report", [sample.backdoor(), sample.clean(), sample.inconclusive(), sample.many(43), sample.hostile("\u202e")]
)
def test_reports_validate(report: sample.Report) -> None:
    schema = json.loads(PUBLISHED.read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(render(report, "json")))


def test_schema_refuses_what_the_contract_refuses_and_takes_additions() -> None:
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text()))
    written = json.loads(render(sample.clean(), "json"))
    validator.validate(written | {"later": 1})
    for change in ({"verdict": "fine"}, {"p_value": "small"}, {"schema_version": "2.0"}, {"subject": None}):
        with pytest.raises(ValidationError):
            validator.validate(written | change)
    with pytest.raises(ValidationError):
        validator.validate({key: value for key, value in written.items() if key != "calibration"})
