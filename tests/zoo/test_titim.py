"""Grids of intensities: the regions by hand, input-level detectors on toys, one grid from training to page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from bdscan.zoo import input_level, titim
from bdscan.zoo.attacks.badnets import BadNets


def row(training: float, *asr: float) -> dict:
    return {"training": [training], "asr": list(asr)}


def test_regions_by_hand(monkeypatch) -> None:
    monkeypatch.setattr(titim, "INFERENCE", (0.2, 0.6, 1.0))
    weak = row(0.2, 0.1, 0.2, 0.1)
    middle = row(0.6, 0.3, 0.9, 0.95)
    strong = row(1.0, 0.1, 0.6, 1.0)
    assert titim.regions([weak, middle, strong]) == [
        ["not converged"] * 3,
        ["not converged", "matched", "generalisation"],
        ["not converged", "overfitting", "matched"],
    ]
    assert titim.regions([row(0.6, 0.0, 0.9, 0.2), row(1.0, 0.0, 0.9, 1.0)]) == [
        ["overfitting", "matched", "lost"],
        ["overfitting", "robust", "matched"],
    ]


def corner(images: torch.Tensor) -> torch.Tensor:
    """Class 1 where a corner is bright, else by the mean, unsure: a backdoored toy."""
    logits = torch.zeros(len(images), 3)
    logits[:, 0] = images.mean((1, 2, 3))
    logits[:, 2] = 0.12
    logits[images[:, 0, 0, 0] > 0.45, 1] = 20.0
    return logits


def test_strip_and_scale_up_tell_a_trigger_that_survives_mixing_and_scaling() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = 0.04 * torch.rand(40, 1, 4, 4, generator=generator)
    stamped = clean.clone()
    stamped[:, 0, 0, 0] = 1.0
    both = torch.cat([clean, stamped])
    strip = input_level.strip(corner, both, clean)
    assert strip.shape == (80,)
    assert float(strip[40:].min()) > float(strip[:40].max())
    assert (strip <= 0).all(), "minus an entropy"
    scaled = input_level.scale_up(corner, both)
    assert (scaled[40:] == 1).all(), "the trigger keeps its class at any scale"
    assert float(scaled[:40].mean()) < 1


def test_one_grid_from_training_to_page_and_it_is_not_made_twice(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(titim, "ATTACKS", {"badnets": BadNets(target=titim.TARGET, size=3)})
    monkeypatch.setattr(titim, "TRAINING", (0.5, 1.0))
    monkeypatch.setattr(titim, "MIXED", ((1.0, 0.5),))
    monkeypatch.setattr(titim, "INFERENCE", (0.1, 0.5, 1.0))
    monkeypatch.setattr(titim, "IMAGES", 40)
    said = {"verdict": "clean", "statistics": [["sparse.index", 3, [], 4.2]], "found_target": None}
    others = {"baselines": {"nc": {"score": 3.25}, "adap_nc": {"score": 1.75}}}
    monkeypatch.setattr(titim, "scan_one", lambda *given, **more: dict(said))
    monkeypatch.setattr(titim, "published", lambda *given: others)
    out, told = tmp_path / "t.json", []
    options = {"command": "bdscan zoo titim", "limit": None, "note": told.append}
    table = titim.run("digits", "digits_cnn", tmp_path, out, tmp_path / "pages", **options)
    one = table["attacks"]["badnets"]
    assert [(row["training"], row["device"]) for row in one["grid"]] == [([0.5], "cpu"), ([1.0], "cpu")]
    assert one["grid"][1]["asr"][2] > 0.9, "trained and tried at full intensity"
    assert one["grid"][1]["asr"][0] < 0.3, "hardly a trigger"
    assert all(0 <= value <= 1 for row in one["grid"] for value in row["strip"] + row["scale_up"])
    assert len(told) == 3
    titim.run("digits", "digits_cnn", tmp_path, out, tmp_path / "pages", **options)
    assert len(told) == 3
    page = (tmp_path / "pages" / "README.md").read_text()
    assert "![success by intensity](badnets.svg)" in page
    assert "| 1 and 0.5 |" in page
    assert "| 3.2 | 1.8 |" in page, "published indices beside ours"
    root = ElementTree.fromstring((tmp_path / "pages" / "badnets.svg").read_text())
    assert len(root.findall(".//{http://www.w3.org/2000/svg}rect")) == 2 * 3


@pytest.mark.parametrize("wrong", [["--attack", "magic"], ["--network", "magic"]])
def test_an_unknown_name_is_one_line(tmp_path: Path, wrong: list[str]) -> None:
    from typer.testing import CliRunner

    from bdscan.cli.zoo import app

    result = CliRunner().invoke(app, ["titim", "--data", str(tmp_path), "--out", str(tmp_path / "o.json"), *wrong])
    assert result.exit_code == 2
    assert "magic" in result.stderr
