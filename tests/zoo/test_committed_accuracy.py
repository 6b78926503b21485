"""The committed table of error rates is what its command makes of the committed lines."""

from __future__ import annotations

import json
from pathlib import Path

from bdscan.resources import resource
from bdscan.rules import describe_rules
from bdscan.zoo import evaluate
from bdscan.zoo.survey import read

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_made_of_the_lines_beside_it(tmp_path: Path) -> None:
    judged = sorted((DOCS / "accuracy").glob("judged-*.jsonl"))
    references = [DOCS / "accuracy" / "references.jsonl"]
    committed = json.loads((DOCS / "accuracy.json").read_text())
    evaluate.run(judged, tmp_path / "a.json", tmp_path / "a.md", references, command=committed["command"])
    assert json.loads((tmp_path / "a.json").read_text()) == committed
    assert (tmp_path / "a.md").read_text() == (DOCS / "accuracy.md").read_text()


def test_every_line_is_of_the_shipped_rules_and_no_judged_network_is_a_reference() -> None:
    judged = read(sorted((DOCS / "accuracy").glob("judged-*.jsonl")))
    references = read([DOCS / "accuracy" / "references.jsonl"])
    assert {row["made"]["rules"] for row in [*judged, *references]} == {describe_rules(resource("rules")).sha256}
    assert not {row["settings"]["seed"] for row in judged} & {row["settings"]["seed"] for row in references}
