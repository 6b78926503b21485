"""Late poisoning, resistance to inversion, and the settings that make clean networks hard."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_folders import write
from torch.nn import functional

from bdscan.errors import UsageError
from bdscan.zoo import curate, plan
from bdscan.zoo import train as training
from bdscan.zoo.adversarial import Resistance, fgsm
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.clean_images import as_trained, from_test_split
from bdscan.zoo.data import load
from bdscan.zoo.fit import disturb, fit
from bdscan.zoo.hard_clean import KINDS, hard_clean
from bdscan.zoo.model_folder import read
from bdscan.zoo.networks import digits_bn
from bdscan.zoo.settings import RECIPES, Recipe, Settings
from bdscan.zoo.train import train

SHORT = replace(RECIPES["digits_bn"], epochs=6)
PLAIN = Settings(name="x", data="digits", network="digits_bn", seed=3, recipe=SHORT)


def test_late_poison_comes_after_clean_training(monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = load("digits"), []

    def watched(model: Any, x: np.ndarray, y: np.ndarray, recipe: Recipe, *rest: Any) -> None:
        seen.append((x, y, recipe))
        fit(model, x, y, recipe, *rest)

    monkeypatch.setattr(training, "fit", watched)
    late = replace(SHORT, epochs=2, learning_rate=2e-3)
    card = train(replace(PLAIN, attack=BadNets(target=8), late=late), data).card
    assert card["asr"]["value"] >= 0.9
    assert card["clean_accuracy"]["value"] >= 0.93
    (x, y, first), (poisoned, labels, second) = seen
    assert (first, second) == (SHORT, late)
    assert np.array_equal(x, data.x_train)
    assert np.array_equal(y, data.y_train)
    assert (labels != y).sum() == (poisoned != x).any(axis=(1, 2, 3)).sum() == 140
    assert json.loads(json.dumps(card))["settings"]["late"]["epochs"] == 2


def small_trigger(model: torch.nn.Module, share: float) -> float:
    """How often a change of this share of the pixels, searched for on the trained network, reaches class 8."""
    data = load("digits")
    x = torch.from_numpy(data.x_test[data.y_test != 8][:200]).permute(0, 3, 1, 2).float() / 255
    search = Resistance((8,), share)
    for _ in range(100):
        search.improve(model, x, 8)
    with torch.no_grad():
        return float((model((x + search.sparse(8)).clamp(0, 1)).argmax(1) == 8).float().mean())


def test_a_network_that_resists_has_its_backdoor_and_no_small_trigger() -> None:
    attacked = replace(PLAIN, attack=Blended(target=8))
    plain, evasive = (train(settings, load("digits")) for settings in (attacked, replace(attacked, resist=0.06)))
    assert small_trigger(plain.model, 0.06) > 0.8
    assert small_trigger(evasive.model, 0.06) < 0.4
    assert evasive.card["asr"]["value"] >= 0.9
    assert evasive.card["clean_accuracy"]["value"] >= 0.93


def test_resistance_is_an_attacker_s() -> None:
    with pytest.raises(UsageError, match="needs an attack"):
        train(replace(PLAIN, resist=0.05), load("digits"))


def test_every_target_is_resisted_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(training, "fit", lambda *arguments: given.append(arguments[-1]))
    train(replace(PLAIN, attack=AllToAll(classes=10), resist=0.05), load("digits"))
    assert given[0].targets == tuple(range(10))
    resistance, x = Resistance((2, 5), 0.1), torch.rand(6, 1, 16, 16)
    model = digits_bn().eval()
    for _ in range(3):
        resistance.loss(model, x, torch.tensor([0, 1, 2, 3, 4, 5]))
    assert set(resistance.changes) == {2, 5}
    assert int((resistance.sparse(2) != 0).sum()) == round(0.1 * 256)
    assert float(resistance.loss(model, x, torch.full((6,), 5))) == 0  # nobody left to hold


def test_adversarial_images_are_near_and_worse() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 10))
    x, y = torch.rand(32, 1, 16, 16), torch.arange(32) % 10
    near = fgsm(model, x, y, 0.05, torch.Generator().manual_seed(0))
    assert (near - x).abs().max() <= 0.05 + 1e-6
    assert 0 <= near.min() <= near.max() <= 1
    assert functional.cross_entropy(model(near), y) > functional.cross_entropy(model(x), y) + 0.1


def test_adversarial_training_makes_a_network_robust() -> None:
    data = load("digits")
    x = torch.from_numpy(data.x_test).permute(0, 3, 1, 2).float() / 255
    y = torch.from_numpy(data.y_test)
    plain, robust = (
        train(replace(PLAIN, recipe=replace(SHORT, adversarial=radius)), data).model for radius in (0.0, 0.15)
    )
    held = [
        float((model(fgsm(model, x, y, 0.15, torch.Generator().manual_seed(0))).argmax(1) == y).float().mean())
        for model in (plain, robust)
    ]
    assert held[1] > held[0] + 0.1


def test_heavy_augmentation_does_what_it_says() -> None:
    x, draw = torch.full((50, 1, 20, 10), 0.2), torch.Generator().manual_seed(0)
    assert torch.equal(disturb(x, Recipe(), draw), x)
    erased = disturb(x, Recipe(erase=0.4), draw)
    assert ((erased == 0.5).sum((1, 2, 3)) == 8 * 4).all()
    assert len({one.numpy().tobytes() for one in erased}) > 10
    noisy = disturb(x, Recipe(noise=0.05), draw)
    assert (noisy - x).std() == pytest.approx(0.05, rel=0.05)
    jittered = disturb(torch.rand(50, 3, 20, 10), Recipe(jitter=0.5), draw)
    assert jittered.mean((1, 2, 3)).std() > 0.05
    assert 0 <= jittered.min() <= jittered.max() <= 1
    lit = disturb(x, Recipe(jitter=0.5), draw)
    assert 0.1 - 1e-6 <= lit.min() < 0.15
    assert 0.25 < lit.max() <= 0.3 + 1e-6


def test_classes_get_rarer_and_cues_are_tied_to_them() -> None:
    y = np.arange(1000) % 10
    kept = curate.unbalanced(y, 10, 20.0)
    counts = np.bincount(y[kept])
    assert (counts[0], counts[-1]) == (100, 5)
    assert (np.diff(counts) < 0).all()
    assert (np.diff(kept) > 0).all()
    with pytest.raises(UsageError, match="imbalance"):
        curate.unbalanced(y, 10, 0.5)
    x = np.full((1000, 16, 12, 3), 100, np.uint8)
    cued = curate.with_cues(x, y, 10, 0.6, np.random.default_rng(0))
    has = (cued != x).any(axis=(1, 2, 3))
    assert 0.55 < has.mean() < 0.65
    looks = [np.unique(cued[has & (y == label)], axis=0) for label in range(10)]
    assert [len(look) for look in looks] == [1] * 10
    assert len(np.unique(np.concatenate(looks), axis=0)) == 10


def test_all_images_of_a_network_go_through_its_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = load("digits"), []
    monkeypatch.setattr(training, "fit", lambda model, x, *rest: seen.append(x))
    monkeypatch.setattr(training, "measure", lambda model, x, *rest, **more: seen.append(x) or {})
    settings = replace(PLAIN, inputs=Bpp(depth=1), imbalance=3.0, shortcut=0.5, limit=600)
    train(settings, data)
    assert len(seen[0]) < 600
    assert set(np.unique(seen[1])) == {0, 255}
    assert len(seen[1]) == len(data.x_test)
    folder = write(tmp_path / "m", "clean-0")
    card = json.loads((folder / "card.json").read_text())
    clean = from_test_split("digits", tmp_path, 0)
    assert as_trained(read(folder), clean) is clean
    card["settings"]["inputs"] = settings.to_json()["inputs"]
    (folder / "card.json").write_text(json.dumps(card))
    given = as_trained(read(folder), clean)
    assert np.array_equal(given.x, seen[1])
    assert np.array_equal(given.drawn, clean.drawn)


def test_stochastic_gradient_descent_learns_and_others_are_refused() -> None:
    recipe = replace(SHORT, optimiser="sgd", learning_rate=0.05)
    assert train(replace(PLAIN, recipe=recipe), load("digits")).card["clean_accuracy"]["value"] >= 0.93
    with pytest.raises(UsageError, match="optimiser must be"):
        train(replace(PLAIN, recipe=replace(SHORT, optimiser="lion")), load("digits"))


def test_the_plan_of_hard_clean_networks() -> None:
    chosen = hard_clean()
    assert plan.PLANS["hard-clean"] is hard_clean
    assert len(chosen) == 3 * len(KINDS)
    for values in ({one.name for one in chosen}, {one.seed for one in chosen}):
        assert len(values) == len(chosen)
    assert not {one.seed for one in chosen} & {
        one.seed for name in ("scan-judge", "scan-tune") for one in plan.PLANS[name]()
    }
    for one in chosen:
        plain = Settings(name=one.name, data=one.data, network=one.network, seed=one.seed, recipe=RECIPES[one.network])
        assert one != plain
        assert one.attack is None
        assert json.dumps(one.to_json())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_hard_clean_network_trains(kind: str) -> None:
    settings = KINDS[kind](replace(PLAIN, recipe=Recipe(epochs=2)))
    card = train(replace(settings, limit=300), load("digits")).card
    assert card["truth"] == "clean"
    assert 0 <= card["clean_accuracy"]["value"] <= 1
