"""The committed table of error rates is what its command makes of the committed lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bdscan.resources import resource
from bdscan.rules import describe_rules
from bdscan.zoo import evaluate
from bdscan.zoo.survey import read

DOCS = Path(__file__).parents[2] / "docs"


Table = tuple[str, str, str | None]  # page, lines, and the references that its p-values are ranks among
TABLES: list[Table] = [
    ("accuracy", "judged-*.jsonl", "references.jsonl"),
    ("accuracy-few", "few-judged.jsonl", "few-references.jsonl"),
    ("accuracy-several", "several-judged*.jsonl", "several-references.jsonl"),
    ("accuracy-two", "two-judged-*.jsonl", None),
]


# Of rules that the others were not scanned by; what their messages say was changed since or between the lines.
NEWER: list[Table] = [
    ("accuracy-pairs", "pairs-*.jsonl", None),
    ("accuracy-universal", "universal-*.jsonl", None),
]


@pytest.mark.parametrize("table, lines, references", [*TABLES, *NEWER])
def test_the_table_is_made_of_the_lines_beside_it(
    tmp_path: Path, table: str, lines: str, references: str | None
) -> None:
    judged = sorted((DOCS / "accuracy").glob(lines))
    committed = json.loads((DOCS / f"{table}.json").read_text())
    clean = [DOCS / "accuracy" / references] if references else []
    evaluate.run(judged, tmp_path / "a.json", tmp_path / "a.md", clean, command=committed["command"])
    assert json.loads((tmp_path / "a.json").read_text()) == committed
    assert (tmp_path / "a.md").read_text() == (DOCS / f"{table}.md").read_text()


@pytest.mark.parametrize("table, lines, references", TABLES)
def test_every_line_is_of_the_shipped_rules_and_no_judged_network_is_a_reference(
    table: str, lines: str, references: str | None
) -> None:
    judged = read(sorted((DOCS / "accuracy").glob(lines)))
    clean = read([DOCS / "accuracy" / references]) if references else []
    rules = describe_rules(resource("rules"), few_classes=table == "accuracy-few", calibrated=True).sha256
    assert {row["made"]["rules"] for row in [*judged, *clean]} == {rules}
    seeds = {row["settings"]["seed"] for row in judged}
    others = clean if table != "accuracy-few" else [*clean, *read([DOCS / "accuracy" / "few-tune.jsonl"])]
    assert not seeds & {row["settings"]["seed"] for row in others}
