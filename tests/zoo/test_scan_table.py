"""One network scanned for real, and what becomes of it in the table; errors, resumption and the files written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import model_folders
import pytest
from typer.testing import CliRunner

from bdscan import api
from bdscan.cli.main import app
from bdscan.errors import CannotJudge, UsageError
from bdscan.report import Finding, Label, Report, Verdict
from bdscan.zoo import scan_table
from bdscan.zoo.scan_markdown import page
from bdscan.zoo.scan_table import is_right, key_statistics, outcome, run

HEADER = {"command": "bdscan zoo scan-table", "data": Path(), "budget": "quick", "seed": 0, "threads": 1}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Report, Path]:
    """The table of one backdoored digits network by the command, with the report it was made from."""
    folder = tmp_path_factory.mktemp("table")
    model_folders.write(folder / "models" / "badnets", "badnets")
    kept: list[Report] = []
    real = api.run

    def keep(*arguments: Any, **options: Any) -> Report:
        kept.append(real(*arguments, **options))
        return kept[-1]

    arguments = [str(folder / "models"), "--data", str(folder), "--budget", "quick", "--threads", "1"]
    files = ["--out", str(folder / "docs" / "t.json"), "--markdown", str(folder / "docs" / "t.md")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "run", keep)
        result = CliRunner().invoke(app, ["zoo", "scan-table", *arguments, *files, "--compare"])
    assert result.exit_code == 0, result.stderr
    assert "of 1; alarms on 0 of 0 clean" in result.stderr
    return json.loads((folder / "docs" / "t.json").read_text()), kept[0], folder


@pytest.fixture
def alarm(scanned) -> Report:
    """The same report with a finding for class 8: whether a scan at `quick` has one is not under test here."""
    found = Finding(
        rule="r", title="t", severity="high", confidence="high", message="m", target=Label(index=8, name="8"), asr=0.9
    )
    return scanned[1].model_copy(update={"findings": (found,), "verdict": Verdict.BACKDOOR})


def test_the_row_says_what_the_scan_found(scanned) -> None:
    table, report, _ = scanned
    (row,) = table["rows"]
    assert (row["name"], row["attack"], row["targets"]) == ("badnets", "badnets", [8])
    assert row["right"] is is_right(report, "backdoored", (8,), ((),))
    assert row["verdict"] == report.verdict
    assert row["seconds"] == report.run.seconds
    assert sum(row["stages"].values()) <= row["seconds"] * 1.01
    assert row["clean_accuracy"]["n"] == 100
    indices = [
        s.value for s in report.statistics if s.name in ("sparse.index", "dense.index", "warp.index", "tone.index")
    ]
    assert row["index"] == max(indices)
    assert 0 < row["ratio"] < 1
    assert row["pair_score"] is not None
    assert len(row["pair"]) == 2


def test_recovered_triggers_stand_beside_the_true_one(scanned) -> None:
    found = scanned[0]["rows"][0]["fidelity"]
    (row,) = found["triggers"]
    assert row["target"] == 8
    assert any(row[name] is not None for name in ("report", "sparse", "dms"))
    for way in (row["report"], row["sparse"], row["dms"]):
        if way is not None:
            assert way["true_asr"] > 0.95
            assert way["fir"] >= way["asr"]
    assert set(found["ablation"]) == {"steps", "dms_steps"}
    assert 0 < found["seconds_per_sample"]["steps"] < found["seconds_per_sample"]["dms"]


def test_the_page_has_every_part_and_no_machine_s_path(scanned) -> None:
    table, _, folder = scanned
    text = (folder / "docs" / "t.md").read_text()
    assert " of 1 backdoored" in text
    assert text.count("| badnets |") == 3
    for heading in ("Recovered triggers", "Steps and DMS-Steps", "Seconds a sample"):
        assert heading in text
    assert str(folder.parent) not in text + json.dumps(table)
    assert "/" not in table["command"]
    widths = [line.count("|") for line in text.splitlines() if line.startswith("| badnets")]
    headers = [line.count("|") for line in text.splitlines() if line.startswith("| network")]
    assert widths == headers


def test_right_wants_the_true_target_first(alarm: Report) -> None:
    report = alarm
    assert is_right(report, "backdoored", (8,), ((),))
    assert not is_right(report, "backdoored", (3,), ((),))
    assert not is_right(report, "clean", (), ())
    first = report.findings[0].model_copy(update={"target": Label(index=3, name="3")})
    assert not is_right(report.model_copy(update={"findings": (first, *report.findings)}), "backdoored", (8,), ((),))
    weak = first.model_copy(update={"weakness": True})
    assert is_right(report.model_copy(update={"findings": (weak, *report.findings)}), "backdoored", (8,), ((),))
    silent = report.model_copy(update={"verdict": Verdict.CLEAN, "findings": ()})
    assert is_right(silent, "clean", (), ())
    assert not is_right(silent, "backdoored", (8,), ((),))
    unsure = report.model_copy(update={"verdict": Verdict.INCONCLUSIVE})
    assert not is_right(unsure, "clean", (), ())
    assert not is_right(unsure, "backdoored", (8,), ((),))


def test_right_wants_true_sources_and_more_than_any_target_of_all_to_all(alarm: Report) -> None:
    def named(*sources: int) -> Report:
        labels = tuple(Label(index=s, name=str(s)) for s in sources)
        return alarm.model_copy(update={"findings": (alarm.findings[0].model_copy(update={"sources": labels}),)})

    assert is_right(named(2), "backdoored", (8,), ((2, 3),))
    assert not is_right(named(4), "backdoored", (8,), ((2, 3),))
    assert is_right(named(), "backdoored", (8,), ((2,),)), "it names the target at least"
    assert is_right(named(4), "backdoored", (8,), ((),)), "all classes are sources"
    cycle = (tuple((s + 1) % 10 for s in range(10)), tuple((s,) for s in range(10)))
    assert is_right(named(7), "backdoored", *cycle)
    assert not is_right(named(6), "backdoored", *cycle)
    assert not is_right(named(), "backdoored", *cycle)


def test_a_report_without_statistics_has_a_row(scanned) -> None:
    bare = scanned[1].model_copy(update={"statistics": (), "findings": (), "verdict": Verdict.INCONCLUSIVE})
    row = outcome(bare, "clean", (), ())
    assert (row["index"], row["ratio"], row["pair_score"], row["found_target"], row["right"]) == (None,) * 4 + (False,)
    assert key_statistics(())["pair"] is None


def test_an_error_is_a_row_and_is_tried_again(alarm: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("badnets", "other"):
        model_folders.write(tmp_path / "models" / name, "badnets")
    calls: list[str] = []

    def scan(settings: Any) -> Report:
        calls.append(Path(settings.model).parent.name)
        if calls == ["badnets"]:
            raise CannotJudge(f"{settings.model}: no verdict within the time limit")
        return alarm

    monkeypatch.setattr(api, "run", scan)
    out, markdown = tmp_path / "t.json", tmp_path / "t.md"
    first = run([tmp_path / "models"], out=out, markdown=markdown, compare=False, **HEADER)
    assert first["summary"] | {"errors": 1, "right": 1, "networks": 2} == first["summary"]
    assert "badnets.pth.tar: no verdict within the time limit" in markdown.read_text()
    assert str(tmp_path) not in out.read_text()
    again = run([tmp_path / "models"], out=out, markdown=markdown, compare=False, resume=True, **HEADER)
    assert calls == ["badnets", "other", "badnets"]
    assert again["summary"]["right"] == 2
    with pytest.raises(UsageError, match="another budget or seed"):
        run([tmp_path / "models"], out=out, markdown=None, resume=True, **{**HEADER, "seed": 1})


def test_a_run_cut_short_leaves_its_rows(alarm: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        model_folders.write(tmp_path / "models" / name, "badnets")

    def scan(settings: Any) -> Report:
        if Path(settings.model).parent.name == "b":
            raise KeyboardInterrupt
        return alarm

    monkeypatch.setattr(api, "run", scan)
    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "models"], out=tmp_path / "t.json", markdown=None, compare=False, **HEADER)
    assert [row["name"] for row in json.loads((tmp_path / "t.json").read_text())["rows"]] == ["a"]


def test_a_comparison_that_fails_shows(alarm: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folders.write(tmp_path / "models" / "a", "badnets")
    monkeypatch.setattr(api, "run", lambda settings: alarm)

    def broken(*arguments: Any) -> dict[str, Any]:
        raise RuntimeError("/home/someone/x.pt is odd")

    monkeypatch.setattr(scan_table.fidelity, "examine", broken)
    table = run([tmp_path / "models"], out=tmp_path / "t.json", markdown=None, **HEADER)
    assert table["rows"][0]["right"] is True
    assert "- a, not compared: RuntimeError: x.pt is odd" in page(table)


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["zoo", "scan-table", str(tmp_path), "--data", ".", "--out", str(tmp_path / "t.json")]
    )
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "card.json" in result.stderr
