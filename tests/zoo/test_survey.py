"""From a plan to lines, and from lines to references and error rates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score

from bdscan import api
from bdscan.calibration import load_references
from bdscan.detectors.wilson import wilson
from bdscan.errors import UsageError
from bdscan.report import Verdict
from bdscan.zoo import calibrate, evaluate, evaluate_markdown, evaluate_parts, rates, survey
from bdscan.zoo.clean_images import from_test_split, redrawn
from bdscan.zoo.plan import PLANS, chosen
from bdscan.zoo.references import references

MADE = {"budget": "standard", "seed": 0, "date": "2026-01-02", "version": "0.1.0", "torch": "2"}


def row(name: str, verdict: str, score: float | None, **more: Any) -> dict[str, Any]:
    clean = "clean" in name
    plain = {
        "name": name,
        "data": "digits",
        "attack": None if clean else "warp",
        "truth": "clean" if clean else "backdoored",
        "targets": [] if clean else [3],
        "sources": [] if clean else [[]],
        "card_asr": None if clean else {"value": 0.97, "n": 100},
        "verdict": verdict,
        "right": (verdict == "clean") == clean,
        "rule": None,
        "found_target": None,
        "found_sources": [],
        "score": score,
        "clean_accuracy": {"value": 0.95, "n": 100},
        "seconds": 2.0,
        "input_shape": [1, 16, 16],
        "classes": 10,
        "settings": {"network": "digits_cnn", "intensity": [1.0]},
        "made": MADE,
    }
    return plain | more


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_the_sets_share_no_seed_of_a_network_and_there_are_enough() -> None:
    assert len(references()) >= 99
    seen: dict[tuple[str, str, int], str] = {}
    for plan in (
        "scan-judge",
        "scan-tune",
        "tune-families",
        "hard-clean",
        "repaired",
        "references",
        "judged-clean",
        "judged-backdoored",
        "judged-adaptive",
        "judged-further",
        "judged-instead",
        "few-tune",
        "few-references",
        "few-judged",
        "several-references",
        "several-judged",
    ):
        for one in PLANS[plan]():
            assert seen.setdefault((one.data, one.network, one.seed), plan) == plan, one.name
    assert sum(one.attack is None for one in PLANS["judged-clean"]()) >= 101
    families: dict[str, int] = {}
    for one in PLANS["judged-backdoored"]():
        assert one.attack is not None
        families[one.name.split("-")[1]] = families.get(one.name.split("-")[1], 0) + 1
    assert len(families) == 8
    assert min(families.values()) >= 20


def test_what_is_judged_was_not_tuned_on() -> None:
    def specs(*plans: str) -> set[str]:
        found = [one for plan in plans for one in PLANS[plan]()]
        return {json.dumps([one.data, one.to_json()["attack"], one.rate]) for one in found if one.attack is not None}

    judged = specs("judged-backdoored", "judged-adaptive", "judged-further", "judged-instead")
    assert len(judged) == 215, "and no two are the same"
    assert not judged & specs("scan-tune", "tune-families", "scan-judge")


def test_each_network_is_scanned_with_images_of_its_own() -> None:
    clean = from_test_split("digits", Path(), 0)
    one, other = redrawn(clean, (0, 1)), redrawn(clean, (0, 2))
    assert set(one.drawn.tolist()) != set(other.drawn.tolist())
    assert one.drawn.tolist() == redrawn(clean, (0, 1)).drawn.tolist()
    assert [int((clean.y[one.drawn] == label).sum()) for label in range(10)] == [10] * 10


def test_a_survey_trains_scans_and_goes_on_where_it_was(tmp_path: Path) -> None:
    out, told = tmp_path / "s.jsonl", []
    (first,) = survey.run("references", tmp_path, out, budget="quick", only="digits_bn-0", note=told.append)
    assert first["truth"] == "clean"
    assert first["classes"] == 10
    assert {name.split(".")[0] for name, *_ in first["statistics"]} >= {"sparse", "dense", "pairs", "steps"}
    assert survey.read([out]) == [first]
    assert len(told) == 1
    assert survey.run("references", tmp_path, out, budget="quick", only="digits_bn-0", note=told.append) == [first]
    assert len(told) == 1, "nothing was trained again"


def test_kept_networks_are_not_trained_again_and_must_be_the_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, keywords = tmp_path / "kept", {"budget": "quick", "only": "digits_bn-1", "models": tmp_path / "kept"}
    (first,) = survey.run("references", tmp_path, tmp_path / "a.jsonl", baselines=True, **keywords)
    assert set(first["baselines"]) == {"nc", "adap_nc", "p1", "mm_bd", "steps"}
    monkeypatch.setattr(survey, "train", None)
    (second,) = survey.run("references", tmp_path, tmp_path / "b.jsonl", **keywords)
    (whole,) = survey.run("references", tmp_path, tmp_path / "b.jsonl", baselines=True, **keywords)
    assert whole == second | {"baselines": first["baselines"]}, "what a line lacks is added to it"
    with pytest.raises(UsageError, match="another budget"):
        survey.run("references", tmp_path, tmp_path / "b.jsonl", **keywords | {"budget": "standard"})
    for change, said in (
        ({"made": first["made"] | {"rules": "0" * 64}}, "rules"),
        ({"settings": {}}, "other settings"),
    ):
        write(tmp_path / "other.jsonl", first | change)
        with pytest.raises(UsageError, match=said):
            survey.run("references", tmp_path, tmp_path / "other.jsonl", **keywords)
    write(tmp_path / "failed.jsonl", first | {"verdict": "error"})
    (again,) = survey.run("references", tmp_path, tmp_path / "failed.jsonl", **keywords)
    assert again["verdict"] == first["verdict"], "what failed is tried again"
    (few,) = survey.run("references", tmp_path, tmp_path / "few.jsonl", per_class=2, **keywords)
    assert few["made"]["per_class"] == 2
    assert few["statistics"] != second["statistics"]
    assert (second["score"], second["statistics"]) == (first["score"], first["statistics"])
    card = next(kept.glob("*/card.json"))
    card.write_text(card.read_text().replace('"seed": 20', '"seed": 30'))
    with pytest.raises(UsageError, match="other settings"):
        survey.run("references", tmp_path, tmp_path / "c.jsonl", **keywords)


def test_what_other_surveys_have_is_left_to_them(tmp_path: Path) -> None:
    plan = "judged-adaptive"
    theirs = write(tmp_path / "theirs.jsonl", *(row(one.name, "clean", 0.5) for one in PLANS[plan]()))
    assert survey.run(plan, tmp_path, tmp_path / "ours.jsonl", known=[theirs]) == []
    assert not (tmp_path / "ours.jsonl").exists()


def test_shares_of_a_plan_are_apart_and_whole() -> None:
    names = [one.name for one in chosen("references")]
    parts = [one.name for i in (1, 2, 3) for one in chosen("references")[i - 1 :: 3]]
    assert sorted(parts) == sorted(names)


@pytest.mark.parametrize("text", ["no json\n", "[1]\n", '{"a": 1}\n', '{"name": "x"}\n{"name": "x"}\n'])
def test_what_is_no_survey_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.jsonl").write_text(text)
    with pytest.raises(UsageError, match=r"s\.jsonl"):
        survey.read([tmp_path / "s.jsonl"])


def test_references_are_what_scans_read_and_alarms_stay_among_them(tmp_path: Path) -> None:
    lines = write(tmp_path / "s.jsonl", row("ref-clean-0", "clean", 0.4), row("ref-clean-1", "suspicious", 1.2))
    calibrate.run([lines], tmp_path / "calibration" / "x.json", name="mine", note="All ours.", command="c")
    found = load_references(tmp_path)
    assert found.note == "Scanned at the standard budget. All ours."
    assert (found.name, found.budget, len(found.models)) == ("mine", "standard", 2)
    assert found.describe().false_alarm_rate == 0.5
    assert found.p_value(0.8, "standard") == 2 / 3


def test_where_alarms_count_beyond_references_only_the_furthest_are_false(tmp_path: Path) -> None:
    rows = [row(f"ref-clean-{i}", "backdoor" if i > 35 else "clean", i / 10) for i in range(40)]
    lines = write(tmp_path / "s.jsonl", *rows)
    alarms = []
    for level in (None, 0.05):
        table = calibrate.run([lines], tmp_path / "x.json", name="mine", level=level, command="c")
        alarms.append([model["score"] for model in table["models"] if model["alarm"]])
    assert alarms == [[3.6, 3.7, 3.8, 3.9], [3.8, 3.9]], "of 39 others at most one scores as high as these"


def test_reports_of_a_users_own_clean_models_are_references_too(tmp_path: Path, fixtures_dir: Path) -> None:
    settings = api.make_settings(
        model=str(fixtures_dir / "clean-1.onnx"),
        samples=str(fixtures_dir / "samples.npz"),
        detectors=("graph", "margin"),
    )
    report = api.run(settings).model_copy(update={"score": 0.25, "verdict": Verdict.CLEAN})
    (tmp_path / "ours.json").write_text(report.model_dump_json())
    with pytest.raises(UsageError, match="--detectors"):
        calibrate.run([tmp_path / "ours.json"], tmp_path / "x.json", name="mine", command="c")
    whole = report.model_copy(update={"settings": report.settings | {"detectors": ()}})
    three = whole.samples.model_copy(update={"per_class": (9, 9, 9, *[0] * 7)})
    nothing = whole.model_copy(update={"samples": three, "lacking": ("comparison",)})
    (tmp_path / "ours.json").write_text(nothing.model_dump_json())
    with pytest.raises(UsageError, match="3 of 10 classes"):
        calibrate.run([tmp_path / "ours.json"], tmp_path / "x.json", name="mine", command="c")
    (tmp_path / "ours.json").write_text(whole.model_dump_json())
    calibrate.run([tmp_path / "ours.json"], tmp_path / "calibration" / "x.json", name="mine", command="c")
    (one,) = load_references(tmp_path).models
    assert (one.score, one.classes, one.input_shape) == (0.25, 10, (1, 16, 16))
    assert load_references(tmp_path).per_class == min(whole.samples.per_class) == 10
    fewer = whole.samples.model_copy(update={"per_class": (4,) * 10})
    (tmp_path / "other.json").write_text(whole.model_copy(update={"samples": fewer}).model_dump_json())
    both = [tmp_path / "ours.json", tmp_path / "other.json"]
    with pytest.raises(UsageError, match="images a class"):
        calibrate.run(both, tmp_path / "x.json", name="mine", command="c")


@pytest.mark.parametrize(
    "bad, said",
    [
        (row("ref-warp-0", "backdoor", 2.0), "not clean"),
        (row("ref-clean-9", "error", None), "no score"),
        (row("ref-clean-9", "inconclusive", 0.05), "not wholly scanned"),
        (row("ref-clean-9", "clean", 0.1, made=MADE | {"rules": "f" * 64}), "or rules"),
        (row("ref-clean-9", "clean", 0.1, made=MADE | {"budget": "quick"}), "differ in budget"),
        (row("ref-clean-9", "clean", 0.1, made=MADE | {"per_class": 2}), "different numbers of images a class"),
    ],
)
def test_what_cannot_be_a_reference_is_refused_and_not_left_out(tmp_path: Path, bad: dict, said: str) -> None:
    lines = write(tmp_path / "s.jsonl", row("ref-clean-0", "clean", 0.4), bad)
    with pytest.raises(UsageError, match=said):
        calibrate.run([lines], tmp_path / "x.json", name="mine", command="c")
    assert not (tmp_path / "x.json").exists()


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
