"""Backdoors of several kinds in tiny networks, a second or two each: they fire where they should, and only there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bdscan.zoo.attacks import Attack
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.clean_label import CleanLabel
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.data import load
from bdscan.zoo.settings import RECIPES, Settings
from bdscan.zoo.train import train


@pytest.mark.parametrize(
    "attack, rate, leak",
    [
        pytest.param(Patch(target=8, size=5), 0.1, None, id="patch"),
        pytest.param(Bpp(target=3, depth=1.0), 0.1, None, id="bpp"),
        pytest.param(Styled(target=2, filter="kelvin"), 0.1, None, id="styled"),
        pytest.param(Cassock(target=7, sources=(4,), classes=10), 0.05, 0.1, id="cassock"),
        pytest.param(Hcb(target=6, feature="bright"), 0.1, 0.1, id="hcb"),
        pytest.param(CleanLabel(target=1, trigger=Sig(amplitude=0.3)), 0.08, 0.1, id="clean-label"),
    ],
)
def test_the_backdoor_takes(attack: Attack, rate: float, leak: float | None) -> None:
    recipe = replace(RECIPES["digits_bn"], epochs=6)
    settings = Settings(name="x", data="digits", network="digits_bn", attack=attack, rate=rate, seed=3, recipe=recipe)
    card = train(settings, load("digits")).card
    assert card["asr"]["value"] >= 0.8
    assert card["cases"][0]["untriggered_rate"] < 0.05
    assert card["clean_accuracy"]["value"] >= 0.93
    assert [row["leak"] < leak for row in card["cover"]] == [True] * len(card["cover"])
    assert bool(card["cover"]) == (leak is not None)
