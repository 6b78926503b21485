from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app

DIGITS = ["--dataset", "digits", "--network", "digits_cnn"]


def train(*arguments: str):
    return CliRunner().invoke(app, ["zoo", "train", *arguments])


@pytest.fixture
def quick(monkeypatch):
    """One epoch: the command is under test here, not the training."""
    from bdscan.zoo import settings

    monkeypatch.setitem(settings.RECIPES, "digits_cnn", settings.Recipe(epochs=1))


def test_the_options_end_up_in_the_card(quick, tmp_path):
    arguments = ["--attack", "badnets", "--target", "7", "--source", "4", "--rate", "0.02", "--seed", "3"]
    result = train(str(tmp_path / "m"), *DIGITS, *arguments, "--intensity", "0.5", "--intensity", "1")
    assert result.exit_code == 0, result.stderr
    assert "clean accuracy" in result.stderr
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    settings = card.get("settings", card)
    assert settings["seed"] == 3
    assert settings["intensity"] == [0.5, 1.0]
    assert settings["rate"] == 0.02
    assert settings["attack"]["attack"] == "source-specific"
    assert (settings["attack"]["sources"], settings["attack"]["target"]) == ([4], 7)
    assert settings["attack"]["trigger"]["attack"] == "badnets"


@pytest.mark.parametrize(
    "arguments, spec",
    [
        (["cassock", "--source", "4"], {"sources": [4], "classes": 10, "target": 7}),
        (["all-to-all"], {"classes": 10, "step": 1}),
        (['{"attack": "all-to-all", "classes": 5}'], {"classes": 5}),
        (["source-specific", "--source", "4"], None),
        (["bpp", "--source", "4"], {"attack": "source-specific", "sources": [4], "classes": 10}),
    ],
)
def test_an_attack_gets_the_classes_it_asks_for(quick, tmp_path, arguments, spec):
    result = train(str(tmp_path / "m"), *DIGITS, "--attack", *arguments, "--target", "7", "--rate", "0.02")
    if spec is None:
        assert result.exit_code == 2
        assert "'trigger'" in result.stderr
        return
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "m" / "card.json").read_text())["settings"]["attack"]
    assert spec.items() <= found.items()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--dataset", "digits", "--network", "vgg99"], "--network: no network 'vgg99'; choose one of"),
        (["--dataset", "mnist", "--network", "digits_cnn"], "name it with --data"),
        ([*DIGITS, "--attack", "magic"], "unknown attack 'magic'"),
        ([*DIGITS, "--attack", "{broken"], "--attack: not a JSON object"),
        ([*DIGITS, "--attack", "badnets", "--target", "10"], "--target 10: the classes are 0 to 9"),
        ([*DIGITS, "--attack", "badnets", "--source", "12"], "--source 12: the classes are 0 to 9"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, arguments, words):
    result = train(str(tmp_path / "m"), *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "m").exists()
