"""`bdscan zoo p4-tables`: arithmetic by hand, one network from command to page, and P4's figures as printed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import model_folders
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Classifier, Samples, Scannable
from bdscan.report import Label, Preprocessing, TriggerParameters
from bdscan.settings import Settings
from bdscan.zoo import p4_methods, p4_tables, paper_figures
from bdscan.zoo.baselines.per_class import PerClass, Stamp
from bdscan.zoo.known_trigger import KnownTrigger
from bdscan.zoo.p4_markdown import page

SETTINGS = Settings(model="m", samples="s")
MADE = {"command": "c", "date": "d", "version": "v", "torch": "t", "seed": 0, "threads": 1, "cores": 2, "cpu": "x"}


def brightest() -> Classifier:
    """Three pixels, three classes: the brightest pixel is the class."""
    return Classifier(
        forward=lambda images: images.flatten(1),
        classes=("a", "b", "c"),
        shape=(1, 1, 3),
        device=torch.device("cpu"),
        preprocessing=Preprocessing(),
    )


def lit(pixel: int, value: float) -> Stamp:
    def stamp(images: torch.Tensor) -> torch.Tensor:
        stamped = images.clone()
        stamped[:, 0, 0, pixel] = value
        return stamped

    return stamp


@pytest.fixture
def toy() -> tuple[Scannable, torch.Tensor, torch.Tensor]:
    x = torch.tensor([[0.5, 0, 0], [0.75, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]).view(4, 1, 1, 3)
    y = torch.tensor([0, 0, 1, 2])
    bytes_ = (x * 255).round().byte()
    return Scannable(brightest(), Samples(bytes_, y, torch.arange(2), torch.arange(2, 4))), x, y


def test_one_row_by_hand(toy: tuple[Scannable, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """True trigger: the last pixel white, to class 2. Recovered: the same pixel at 0.7. Called: classes 0 and 2."""
    subject, x, y = toy
    found = PerClass((1.0, 0.0, 3.0), frozenset({0, 2}), {2: lit(2, 0.7)})
    monkeypatch.setattr(p4_methods, "METHODS", {"toy": lambda searched, settings: found})
    known = [KnownTrigger(2, (), lit(2, 1.0))]
    row = p4_tables.one("toy", subject, subject, known, x, y, SETTINGS)
    assert (row["acc"], row["tpr"], row["flagged"]) == (pytest.approx(2 / 3), 1.0, (0, 2))
    (trigger,) = row["triggers"]
    assert trigger["n"] == 3, "the target's own image is left out"
    assert trigger["apd"] == pytest.approx(0.3 / 3)
    assert trigger["apd_unstamped"] == pytest.approx(1 / 3, rel=1e-5)
    assert (trigger["fir"], trigger["asr"]) == (pytest.approx(2 / 3, rel=1e-5),) * 2, "0.75 outshines 0.7"
    assert row["seconds"] <= row["wall_seconds"] + 0.05, "one thread"
    assert row["seconds_a_sample"] == pytest.approx(row["seconds"] / 4, abs=0.003)
    missed = p4_tables.one("toy", subject, subject, [KnownTrigger(1, (), lit(1, 1.0))], x, y, SETTINGS)
    assert (missed["acc"], missed["tpr"], missed["triggers"]) == (0.0, 0.0, [])


def test_a_method_that_cannot_run_says_why(
    toy: tuple[Scannable, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(searched: Scannable, settings: Settings) -> PerClass:
        raise CannotJudge("no last layer in /some/where/model.pt")

    monkeypatch.setattr(p4_methods, "METHODS", {"toy": refuses})
    assert p4_tables.one("toy", toy[0], toy[0], [], *toy[1:], SETTINGS) == {"error": "no last layer in model.pt"}
    with pytest.raises(CannotJudge, match="no last linear layer"):
        p4_methods.gang_sweep(toy[0], SETTINGS)
    with pytest.raises(CannotJudge, match="no last linear layer"):
        p4_methods.feature_space(toy[0], SETTINGS)


def test_a_class_is_pointed_at_by_rows() -> None:
    table = np.full((5, 5), 0.05)
    table[[0, 1, 3, 4], 2] = 1.5
    table[2, 0] = 1.5
    found = p4_methods._pointed_at(table)
    assert (found.flagged, found.scores) == ({0, 2}, (0.25, 0.0, 1.0, 0.0, 0.0))


def test_the_scan_calls_what_alarms(
    toy: tuple[Scannable, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two findings the weakness is not called; the trigger is the one that the report shows."""
    label = [Label(index=k, name=str(k)) for k in range(3)]
    shown = TriggerParameters(family="tone", target=label[2], size=1.0, shapes={}, arrays={}, image_shape=(1, 1, 3))
    alarm = SimpleNamespace(target=label[2], weakness=False, evidence=(shown,))
    weakness = SimpleNamespace(target=label[0], weakness=True, evidence=())
    report = SimpleNamespace(findings=(weakness, alarm), score=1.5)
    monkeypatch.setattr("bdscan.api.run", lambda settings: report)
    monkeypatch.setattr(p4_methods, "stamp_from_parameters", lambda trigger: lambda images, intensity: images * 0.5)
    found = p4_methods.whole_scan(toy[0], SETTINGS)
    assert (found.flagged, found.scores) == ({2}, (0.0, 0.0, 1.5))
    assert found.stamps.keys() == {2}
    assert torch.equal(found.stamps[2](toy[1]), toy[1] * 0.5)


def trigger(target: int, fir: float, asr: float, apd: float) -> dict[str, float]:
    return {"target": target, "fir": fir, "asr": asr, "apd": apd, "apd_unstamped": 0.0102, "true_asr": 1.0, "n": 5}


def test_the_page_has_ours_beside_p4_s_and_says_what_was_not_run() -> None:
    row = {"key": ["mnist", "multi"], "name": "m", "targets": [8, 1], "samples": 100}
    seconds = {"seconds": 250.0, "seconds_a_class": 25.0, "seconds_a_sample": 2.5}
    triggers = [trigger(8, 1.0, 0.9, 0.02), trigger(1, 0.5, 0.4, 0.04)]
    rows = [
        {**row, **seconds, "method": "MESA", "acc": 0.8, "tpr": 0.5, "flagged": [3, 8], "triggers": triggers},
        {**row, "method": "FeatureRE", "error": "no last layer"},
    ]
    text = page({**MADE, "images": 1000, "rows": rows})
    lines = {line.split(" | ")[0]: line for line in text.split("## Table IV")[0].splitlines() if "MESA" in line}
    assert "0.80 & 0.50 / 0.92 & 0.88" in text
    assert "not run / 0.73 & 0.38" in text, "P4's MESA on BadNets, which ours did not see"
    assert "could not run / –" in text
    assert "- m, FeatureRE: no last layer" in text
    assert "3, **8**" in lines["| MESA"]
    assert "0.75 (0.65) / 0.13" in text.split("## Table IV")[1]
    assert "0.0300 / 0.5167" in text.split("## Table V:")[1]
    assert "| no trigger | – | – | 0.0102 | – | – |" in text
    assert "| MESA | 2.50 / 15.91 | 25.00 | 250.0 | not run / 430.24 | – | – |" in text
    assert "| Steps | not run" not in text.split("## Table IV")[1].split("## Table VI")[0], "it recovers none"


def test_from_the_command_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digits network stands in for an MNIST row; the second call keeps the rows of the first."""
    model_folders.write(tmp_path / "zoo" / "badnets", "badnets")
    model_folders.write(tmp_path / "zoo" / "clean", "clean-1", weights_file="clean-1.onnx")
    monkeypatch.setattr(paper_figures, "ROWS", (("digits", "badnets"),))
    monkeypatch.setattr("bdscan.zoo.p4_markdown.NAMES", {"digits": "Digits", "badnets": "BadNets"})
    out, table = tmp_path / "p4.json", tmp_path / "p4.md"
    words = ["zoo", "p4-tables", str(tmp_path / "zoo"), "--data", str(tmp_path), "--out", str(out), "--resume"]
    first = CliRunner().invoke(app, [*words, "--method", "Steps", "--markdown", str(table)])
    assert first.exit_code == 0, first.output
    second = CliRunner().invoke(app, [*words, "--method", "DMS-Steps", "--method", "Steps"])
    assert second.exit_code == 0, second.output
    found = json.loads(out.read_text())
    assert [(row["name"], row["method"]) for row in found["rows"]] == [("badnets", "DMS-Steps"), ("badnets", "Steps")]
    dms, steps = found["rows"]
    assert steps["triggers"] == []
    assert dms["triggers"][0]["asr"] > 0.5
    assert steps["samples"] == 100
    assert str(tmp_path) not in found["command"]
    assert "| Steps | " in table.read_text()
    other = CliRunner().invoke(app, [*words, "--seed", "1"])
    assert other.exit_code == 2
    assert "made with another seed" in other.output


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    model_folders.write(tmp_path / "badnets", "badnets")
    with pytest.raises(UsageError, match="no method 'GS'"):
        p4_tables.run([tmp_path], tmp_path, tmp_path / "o.json", None, command="c", methods=["GS"])
    with pytest.raises(UsageError, match="none of these networks"):
        p4_tables.run([tmp_path], tmp_path, tmp_path / "o.json", None, command="c")
    for name in ("one", "two"):
        changes = {"dataset": "mnist", "settings": {"attack": {"attack": "badnets"}}}
        model_folders.write(tmp_path / name, "badnets", **changes)
    with pytest.raises(UsageError, match="more than one network for a row"):
        p4_tables.run([tmp_path], tmp_path, tmp_path / "o.json", None, command="c")
    assert not (tmp_path / "o.json").exists()


def test_the_figures_are_the_paper_s(shared_dir: Path) -> None:
    (paper,) = [path.read_text() for path in (shared_dir / "papers").glob("P4*.txt")]
    plain = paper.replace("<b>", "").replace("</b>", "").replace("&amp;", "&")
    names = {"GangSweep": "GS", "NC": "NC", "MESA": "MESA", "DMS-Steps": "DMS-Steps"}

    def cells(row: str, table: str) -> list[str]:
        line = next(line for line in plain.split(table)[1].splitlines() if line.startswith(row + "\t"))
        return line.split("\t")[1:]

    for method, row in names.items():
        pairs = [tuple(float(v) for v in cell.split("&")) for cell in cells(row, "TABLE II ")[:5]]
        assert list(paper_figures.DETECTION[method].values()) == pairs
        assert list(paper_figures.FIR_BY_METHOD[method].values()) == [float(v) for v in cells(row, "TABLE IV")[:5]]
        assert list(paper_figures.APD_BY_METHOD[method].values()) == [float(v) for v in cells(row, "TABLE V  \n")[:5]]
    for data in ("MNIST", "GTSRB"):
        seconds = [float(v) for v in cells(data, "TABLE VI")]
        assert [one[data.lower()] for one in paper_figures.SECONDS_BY_METHOD.values()] == seconds
