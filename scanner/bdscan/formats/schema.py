"""The published JSON schema: `python -m bdscan.formats.schema > docs/report.schema.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import BaseModel

from bdscan.report import SCHEMA_VERSION, Report


def schema(model: type[BaseModel] = Report) -> dict[str, Any]:
    """The schema of what is written of a model as JSON (JSON Schema 2020-12).

    Open where the model is closed: additions keep the schema version, so a report from a newer bdscan must still
    validate against an older copy of the schema.
    """
    written: dict[str, Any] = model.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"bdscan {model.__name__.lower()}",
        "$comment": f"schema_version {SCHEMA_VERSION}; generated from {model.__module__}, do not edit",
        **{key: value for key, value in _opened(written).items() if key != "title"},
    }


def render_schema(model: type[BaseModel] = Report) -> str:
    return json.dumps(schema(model), indent=2) + "\n"


def _opened(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _opened(value) for key, value in node.items() if not (key == "additionalProperties" and value is False)
        }
    return [_opened(item) for item in node] if isinstance(node, list) else node


if __name__ == "__main__":
    sys.stdout.write(render_schema())
