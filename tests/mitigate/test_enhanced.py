"""What the advice warns of: an attacker who trains the trigger through a transformation (P3, 4.2 and 5.3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bdscan.mitigate.catalogue import Transformation, transformations
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.enhanced import Enhanced
from bdscan.zoo.attacks.interface import Attack
from bdscan.zoo.data import Dataset, load
from bdscan.zoo.settings import RECIPES, Settings
from bdscan.zoo.train import train

TARGET = 8


def network(attack: Attack, data: Dataset) -> nn.Module:
    recipe = RECIPES["digits_bn"]
    settings = Settings(name="x", data="digits", network="digits_bn", seed=0, attack=attack, recipe=recipe, rate=0.1)
    return train(settings, data).model.eval()


@pytest.mark.slow
def test_a_trigger_trained_through_flip_and_shrink_pad_survives_them() -> None:
    data, patch = load("digits"), BadNets(target=TARGET)
    rows = data.y_test != TARGET
    x = torch.from_numpy(data.x_test[rows]).permute(0, 3, 1, 2).float() / 255
    stamped = patch.apply(x, 1.0, np.random.default_rng(0))
    catalogue = transformations((1, 16, 16), 0)
    spatial = [each for each in catalogue if each.kind == "flip" or each.text.startswith("shrink by 1 ")]
    assert len(spatial) == 2

    def success(model: nn.Module, each: Transformation) -> float:
        with torch.no_grad():
            return float((model(each.apply(stamped)).argmax(1) == TARGET).float().mean())

    plain, enhanced = network(patch, data), network(Enhanced(base=patch), data)
    for each in spatial:
        assert success(plain, each) < 0.3, each.text
        assert success(enhanced, each) > 0.9, each.text
