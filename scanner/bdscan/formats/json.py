"""JSON: the report itself, in the contract's key order, byte for byte the same for equal reports."""

from __future__ import annotations

import json

from bdscan.report import Report


def render(report: Report) -> str:
    """ASCII only: a terminal that prints it cannot be driven by a class name, and no tool can misread its encoding."""
    return json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=True, allow_nan=False) + "\n"
