"""From a plan to lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from survey_lines import row, write

from bdscan.errors import UsageError
from bdscan.zoo import survey
from bdscan.zoo.clean_images import from_test_split, redrawn
from bdscan.zoo.plan import PLANS, chosen
from bdscan.zoo.references import references


def test_the_sets_share_no_seed_of_a_network_and_there_are_enough() -> None:
    assert len(references()) >= 99
    seen: dict[tuple[str, str, int], str] = {}
    for plan in (
        "scan-judge",
        "scan-tune",
        "tune-families",
        "tune-pairs",
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
    assert len(judged) == 217, "and no two are the same"
    assert not judged & specs("scan-tune", "tune-families", "tune-pairs", "scan-judge")


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
    assert (first["classes"], first["train_device"]) == (10, "cpu")
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
