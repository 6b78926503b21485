"""The table of a trigger trained through transformations: made on digits, and what the committed one shows."""

from __future__ import annotations

import json
from pathlib import Path

from bdscan.zoo.enhanced_table import page, run

DOCS = Path(__file__).parents[2] / "docs"


def test_a_table_has_a_row_for_each_transformation_and_a_share_for_each_seed(tmp_path: Path) -> None:
    out, markdown = tmp_path / "t.json", tmp_path / "t.md"
    table = run("digits", None, "digits_bn", out, markdown, command="c", seeds=1)
    assert json.loads(out.read_text()) == table
    rows = {row["before"]: row for row in table["rows"]}
    assert rows["nothing"]["plain"][0] > 0.95
    assert rows["flip left to right"]["plain"][0] < 0.3 < 0.9 < rows["flip left to right"]["enhanced"][0]
    assert "| flip left to right |" in markdown.read_text()


def test_the_committed_page_is_of_the_committed_table() -> None:
    table = json.loads((DOCS / "enhanced.json").read_text())
    assert page(table) == (DOCS / "enhanced.md").read_text()
    rows = {row["before"]: row for row in table["rows"]}
    assert min(rows["flip left to right"]["enhanced"]) > 0.9 > 0.3 > max(rows["flip left to right"]["plain"])
