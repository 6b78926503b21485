"""From lines to error rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score
from survey_lines import row, write

from bdscan.detectors.wilson import wilson
from bdscan.errors import UsageError
from bdscan.zoo import calibrate, evaluate, evaluate_markdown, evaluate_parts, rates
from bdscan.zoo.judged_instead import judged_instead


def test_a_file_without_lines_makes_no_table(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text("")
    with pytest.raises(UsageError, match="no line"):
        evaluate.run([tmp_path / "s.jsonl"], tmp_path / "a.json", None, command="c")
    with pytest.raises(UsageError, match="no line"):
        calibrate.run([tmp_path / "s.jsonl"], tmp_path / "a.json", name="mine", command="c")
    assert not (tmp_path / "a.json").exists()


def test_a_right_source_is_one_of_the_named_target() -> None:
    one = {"targets": [3, 4], "sources": [[1], []], "found_target": 3}
    assert rates.names_source(one | {"found_sources": [0, 1]})
    assert not rates.names_source(one | {"found_sources": []})
    assert rates.sources_of(one | {"found_target": 4}) == rates.sources_of(one | {"found_target": 5}) == set()


def test_rates_by_hand(tmp_path: Path) -> None:
    clean = [row(f"judge-clean-{i}", "clean", s) for i, s in enumerate((0.1, 0.5, 0.9))]
    alarm = row("judge-clean-3", "suspicious", 1.1)
    found = row("judge-warp-0", "backdoor", 2.0, found_target=3)
    wrong = row("judge-warp-1", "suspicious", 1.5, right=False, found_target=4)
    missed = row("judge-sig-0", "clean", 0.7, attack="sig")
    no_answer = row("judge-sig-1", "error", None, attack="sig", right=False)
    adaptive = row("judge-adaptive-0", "clean", 0.3)
    late = row("judge-late-0", "backdoor", 1.3)
    weak = row("judge-sig-2", "clean", 0.2, attack="sig", card_asr={"value": 0.5, "n": 100})
    table = evaluate.evaluate([*clean, alarm, found, wrong, missed, no_answer, weak, adaptive, late])
    overall = table["overall"]
    assert (overall["clean"], overall["backdoored"]) == (4, 4)
    assert overall["auc"] == roc_auc_score([0] * 4 + [1] * 4, [0.1, 0.5, 0.9, 1.1, 2.0, 1.5, 0.7, 0.0])
    assert (overall["false_alarms"]["k"], overall["false_alarms"]["n"]) == (1, 4)
    assert (overall["false_alarms"]["low"], overall["false_alarms"]["high"]) == wilson(1, 4)
    assert (overall["found"]["k"], overall["found"]["n"]) == (2, 4)
    assert (overall["right_target"]["k"], overall["right_target"]["n"]) == (1, 2)
    assert table["by_family"]["warp"]["found"]["k"] == 2
    assert table["by_family"]["sig"]["found"]["k"] == 0
    assert {name: (one["found"]["k"], one["found"]["n"]) for name, one in table["beside"].items()} == {
        "adaptive": (0, 1),
        "late": (1, 1),
    }
    assert [one["name"] for one in table["missed"]] == ["judge-sig-0", "judge-sig-1"]
    assert [one["name"] for one in table["wrong_target"]] == ["judge-warp-1"]
    assert [one["name"] for one in table["not_learned"]] == ["judge-sig-2"]
    assert [one["name"] for one in table["no_verdict"]] == ["judge-sig-1"]


def test_stand_ins_are_in_the_rates_and_told_apart(tmp_path: Path) -> None:
    clean, first = row("judge-clean-0", "clean", 0.1), row("judge-warp-01-mnist", "backdoor", 2.0)
    instead = row("judge-warp-22-mnist", "clean", 0.4)
    assert evaluate.evaluate([clean, first])["stand_ins"] is None
    table = evaluate.evaluate([clean, first, instead])
    assert table["by_family"]["warp"]["found"]["n"] == 2
    assert {name: (one["k"], one["n"]) for name, one in table["stand_ins"].items()} == {
        "first": (1, 1),
        "instead": (0, 1),
    }
    text = evaluate_markdown.page(table | {"command": "c"})
    assert "1 of the backdoored ones stand in for" in text
    assert "0 of 1" in text
    assert "; of those first drawn 1 of 1" in text


def test_a_certain_and_right_score_costs_little_and_a_wrong_one_much() -> None:
    right, wrong = rates.cross_entropy([0.2], [3.0]), rates.cross_entropy([3.0], [0.2])
    assert (right or 9.0) < 0.02
    assert (wrong or 0.0) > 3
    assert rates.probability(1.0) == 0.5


def test_the_page_names_what_went_wrong(tmp_path: Path) -> None:
    lines = write(
        tmp_path / "s.jsonl",
        row("judge-clean-0", "suspicious", 1.1, found_target=2),
        row("judge-warp-1", "clean", 0.5, sources=[[4]]),
    )
    evaluate.run([lines], tmp_path / "a.json", tmp_path / "a.md", command="bdscan zoo evaluate s.jsonl")
    text = (tmp_path / "a.md").read_text()
    assert "| judge-clean-0 | suspicious | 1.10 |" in text
    assert "4 → 3" in text
    assert "0 of 1 (0% to 79%)" in text


def margins_of(**values: float) -> list[list[Any]]:
    return [[f"{family}.margin", 3, [], value] for family, value in values.items()]


def test_families_alone_and_left_out() -> None:
    clean = [row("judge-clean-0", "clean", 0.4, statistics=margins_of(sparse=0.4, dense=0.2))]
    both = row("judge-warp-0", "backdoor", 3.0, statistics=margins_of(sparse=3.0, dense=2.0))
    alone = row("judge-warp-1", "backdoor", 1.5, statistics=[*margins_of(sparse=0.1, dense=1.5), ["x.index", 1, [], 7]])
    found = evaluate_parts.families(clean, [both, alone])
    assert found["sparse"]["alone"]["found"]["k"] == 1
    assert found["sparse"]["without"]["found"]["k"] == 2
    assert found["dense"]["without"]["found"]["k"] == 1
    assert found["dense"]["only_by_it"] == 1
    assert found["sparse"]["only_by_it"] == 0
    assert found["sparse"]["alone"]["false_alarms"]["k"] == 0
    assert evaluate_parts.statistics(clean, [both, alone]) == {"x.index": 0.75}


def test_published_detectors_stand_beside_ours_on_the_networks_that_have_them() -> None:
    def says(alarm: bool, target: int | None, score: float) -> dict[str, Any]:
        return {"nc": {"alarm": alarm, "target": target, "score": score}}

    clean = [
        row("judge-clean-0", "clean", 0.4, baselines=says(True, 1, 2.5)),
        row("judge-clean-1", "clean", 0.4),
    ]
    bad = [
        row("judge-warp-0", "backdoor", 3.0, baselines=says(True, 3, 5.0)),
        row("judge-warp-1", "clean", 0.5, baselines=says(True, 4, 2.1)),
    ]
    found = evaluate_parts.baselines(clean, bad)
    assert (found["nc"]["false_alarms"]["k"], found["nc"]["false_alarms"]["n"]) == (1, 1)
    assert (found["nc"]["found"]["k"], found["nc"]["right_target"]["k"], found["nc"]["auc"]) == (2, 1, 0.5)
    assert (found["bdscan"]["found"]["k"], found["bdscan"]["auc"]) == (1, 1.0)
    assert evaluate_parts.baselines([], []) == {}
    by_attack = evaluate_parts.found_by_attack(bad, lambda r: r["verdict"])
    assert {k: (v["bdscan"]["k"], v["nc"]["k"]) for k, v in by_attack.items()} == {"backdoor": (1, 1), "clean": (0, 1)}


def test_calibration_without_the_references_of_a_kind() -> None:
    low = [row(f"ref-clean-{i}", "clean", 0.01 * i, data="digits") for i in range(30)]
    high = [row(f"ref-clean-1{i}", "clean", 2.0, data="mnist") for i in range(20)]
    one = row("judge-clean-0", "clean", 1.5, data="mnist")
    found = evaluate_parts.unseen([*low, *high], [one], [one], lambda r: r["data"])
    assert found["mnist"]["references"] == 20
    assert found["mnist"]["all"]["k"] == 0, "20 of 50 references score higher"
    assert found["mnist"]["others"]["k"] == 1, "and none of the other 30"
    assert (found["mnist"]["found_all"]["k"], found["mnist"]["found_others"]["k"]) == (0, 1)


def test_a_table_of_part_of_the_judged_networks_says_so() -> None:
    table = evaluate.evaluate([row("judge-clean-0", "clean", 0.4), row("judge-warp-0", "backdoor", 3.0)])
    assert sum(table["not_surveyed"].values()) == 269
    assert "Not complete: 269 judged networks" in evaluate_markdown.page(table | {"command": "c"})
    begun = evaluate.evaluate([row("judge-clean-0", "clean", 0.4), row(judged_instead()[0].name, "backdoor", 3.0)])
    assert sum(begun["not_surveyed"].values()) == 269 + 28, "of the stand-ins too, once there is one"
