"""The table of branches in graphs: made anew for one published network, and what the committed one shows."""

from __future__ import annotations

import json
from pathlib import Path

from bdscan.zoo.attacks.trigger_branch import JOINS
from bdscan.zoo.branch_table import page, run

DOCS = Path(__file__).parents[2] / "docs"


def test_branches_in_a_published_network_work_and_are_found(shared_dir: Path, tmp_path: Path) -> None:
    out, markdown = tmp_path / "b.json", tmp_path / "b.md"
    table = run([shared_dir / "models"], shared_dir / "data", out, markdown, command="c", only="coldchair")
    assert json.loads(out.read_text()) == table
    plain, *planted = table["rows"]
    assert (plain["graph"], plain["found"]) == ("clean", False)
    assert [row["graph"] for row in planted] == list(JOINS)
    assert all(row["asr"] > 0.99 and row["same"] == 1.0 and row["found"] for row in planted)
    assert markdown.read_text() == page(table)


def test_the_committed_page_is_of_the_committed_table() -> None:
    table = json.loads((DOCS / "branches.json").read_text())
    assert page(table) == (DOCS / "branches.md").read_text()
    rows = [row for row in table["rows"] if "note" not in row]
    assert len({row["name"] for row in rows}) >= 20
    assert not any(row["found"] for row in rows if row["graph"] == "clean")
    assert all(row["found"] and row["asr"] > 0.95 for row in rows if row["graph"] != "clean")
