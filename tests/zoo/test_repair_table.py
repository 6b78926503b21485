"""The measures of a repair by hand, the baselines on the fixtures, and one row from file to file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import model_folders
import numpy as np
import pytest
import torch
from torch import nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Scannable
from bdscan.intake.load import load
from bdscan.repair import rounds
from bdscan.settings import Settings
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.baselines.channel_lipschitz import channel_lipschitz, lipschitz
from bdscan.zoo.baselines.fine_pruning import activity, fine_pruning, last_convolution
from bdscan.zoo.baselines.fine_tuning import fine_tuning
from bdscan.zoo.known_trigger import KnownTrigger
from bdscan.zoo.model_folder import read
from bdscan.zoo.repair_markdown import page
from bdscan.zoo.repair_table import TRAINING, images_for, recipe, run
from bdscan.zoo.repair_truth import Truth, Unrepaired, measured, nder, truth

FIXTURES = Path(__file__).parents[2] / "fixtures"
TARGET = 8


def corner(images: torch.Tensor) -> torch.Tensor:
    return BadNets(target=TARGET).apply(images, 1.0, np.random.default_rng(0))


def test_nder_by_hand() -> None:
    before = Truth(0.8, (1.0,), (0.0,), (0.0,))
    assert nder(before, before) == 0.5
    assert nder(before, Truth(0.8, (0.0,), (0.8,), (0.0,))) == 1.0
    assert nder(before, Truth(0.4, (0.5,), (0.4,), (0.0,))) == pytest.approx((0.5 - 0.5 + 1) / 2)
    assert nder(before, Truth(0.9, (1.0,), (0.0,), (0.0,))) == 0.5, "better accuracy alone is no defence"


def test_the_truth_counts_images_of_other_classes(badnets: Scannable) -> None:
    x, y = badnets.samples.part(badnets.samples.held_out)
    found = truth(
        badnets.classifier,
        Unrepaired(x, y, len(y)),
        [KnownTrigger(TARGET, (), corner), KnownTrigger(TARGET, (1,), corner)],
    )
    assert found.accuracy == pytest.approx(float((badnets.classifier.predict(x).argmax(1) == y).float().mean()))
    use = y != TARGET
    stamped = badnets.classifier.predict(corner(x[use])).argmax(1)
    assert found.asr[0] == pytest.approx(float((stamped == TARGET).float().mean()))
    assert min(found.asr) > 0.9
    assert found.ra[0] == pytest.approx(float((stamped == y[use]).float().mean()))
    assert found.ra[0] < 0.1
    assert found.unstamped[0] < 0.1


def test_accuracy_is_of_all_images_and_triggers_of_some(badnets: Scannable, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = badnets.samples.part(badnets.samples.held_out)
    stamped: list[int] = []

    def counting(images: torch.Tensor) -> torch.Tensor:
        stamped.append(len(images))
        return corner(images)

    known = [KnownTrigger(TARGET, (), counting)]
    images = Unrepaired(x, y, len(y))
    whole = truth(badnets.classifier, images, known)
    monkeypatch.setattr("bdscan.zoo.repair_truth.IMAGES", 12)
    assert truth(badnets.classifier, images, known).accuracy == whole.accuracy
    assert stamped[0] == int((y != TARGET).sum())
    assert 0 < stamped[1] <= 12


def test_the_training_split_tries_triggers_where_few_test_images_are_left(
    tmp_path: Path, badnets: Scannable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read(model_folders.write(tmp_path / "badnets", "badnets"))
    clean = images_for(model, tmp_path, 10)
    plenty = measured(model, clean, tmp_path)
    assert plenty.untrained == len(plenty.y) == len(clean.y) - len(clean.drawn)
    monkeypatch.setattr("bdscan.zoo.repair_truth.FEW", len(plenty.y) + 1)
    few = measured(model, clean, tmp_path)
    assert few.untrained == len(plenty.y) < len(few.y)
    assert torch.equal(few.x[: few.untrained], plenty.x)
    known = [KnownTrigger(TARGET, (), corner)]
    assert truth(badnets.classifier, few, known).accuracy == truth(badnets.classifier, plenty, known).accuracy


def test_the_lipschitz_bound_is_the_largest_singular_value() -> None:
    layer, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -3.0, 0.5]))
        norm.running_var = torch.tensor([1.0, 4.0, 0.25, 1.0])
    for channel in range(4):
        matrix = layer.weight[channel].detach().reshape(3, 9).numpy()
        scale = abs(float(norm.weight[channel].detach())) / np.sqrt(float(norm.running_var[channel]) + norm.eps)
        expected = np.linalg.svd(matrix, compute_uv=False)[0] * scale
        assert float(lipschitz(layer, norm)[channel].detach()) == pytest.approx(expected, rel=1e-4)


def test_a_planted_channel_is_pruned(badnets: Scannable) -> None:
    """One filter made thirty times stronger is cut; without it nothing is, since no channel stands out by so much."""
    network = badnets.classifier.module
    assert network is not None
    layer = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    kept = layer.weight[0].clone()
    layer.weight.data[0] *= 30
    try:
        pruned = channel_lipschitz(badnets, 0).module
    finally:
        layer.weight.data[0] = kept
    assert pruned is not None
    first = next(m for m in pruned.modules() if isinstance(m, nn.Conv2d))
    assert float(first.weight[0].abs().max()) == 0
    assert float(first.weight[1].abs().max()) > 0


def test_baselines_keep_clean_accuracy_and_leave_the_original_alone(badnets: Scannable) -> None:
    x, y = badnets.samples.part(badnets.samples.held_out)
    before = badnets.classifier.predict(x)
    for method in (fine_tuning, fine_pruning):
        after = method(badnets, 0).predict(x)
        assert not torch.equal(after, before)
        assert float((after.argmax(1) == y).float().mean()) > 0.85
    assert torch.equal(badnets.classifier.predict(x), before)


def test_activity_is_of_the_named_layer(badnets: Scannable) -> None:
    network = badnets.classifier.module
    assert network is not None
    layer = last_convolution(network)
    x, _ = badnets.samples.part(badnets.samples.search)
    assert activity(badnets.classifier, layer, x).shape == (layer.out_channels,)
    assert not layer._forward_hooks
    with pytest.raises(CannotJudge, match="no convolution"):
        last_convolution(nn.Linear(2, 2))


def test_rows_of_other_seeds_are_not_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "repairs.json"
    out.write_text(json.dumps({"seeds": 3, "rows": []}))
    with pytest.raises(UsageError, match="not a table of this command"):
        run([], tmp_path, out, None, command="c", seeds=3, resume=True)
    same = {"seeds": 3, "per_class": 10, "recipe": recipe()}
    for changed in ({"seeds": 2}, {"per_class": 5}, {"recipe": "other"}):
        out.write_text(json.dumps({**same, **changed, "rows": []}))
        with pytest.raises(UsageError, match="another number of seeds or of images a class, or version of the repair"):
            run([], tmp_path, out, None, command="c", seeds=3, resume=True)


def test_the_digest_covers_all_that_rounds_import_but_what_measures() -> None:
    folder = Path(rounds.__file__).parent
    found, left = set(), ["rounds", "unnamed"]
    while left:
        name = left.pop()
        if name not in found and name not in ("measure", "outcome"):
            found.add(name)
            left += re.findall(r"^from bdscan\.repair\.(\w+) import", (folder / f"{name}.py").read_text(), re.MULTILINE)
    assert tuple(sorted(found)) == TRAINING


RESULT = {
    "outcome": "repaired",
    "reasons": [],
    "command_seconds": 12.3,
    "between": "Class 3 alarms.",
    "images": 9900,
    "relearn": {"after": {"hits": 2, "n": 5}, "elsewhere": {"hits": 3, "n": 12}},
}


def test_the_page_shows_ours_the_baselines_and_what_could_not_be_repaired() -> None:
    before = {"accuracy": 0.9, "asr": [1.0, 1.0], "ra": [0.0], "unstamped": [0.01]}
    after = {"accuracy": 0.89, "asr": [0.0, 0.04], "ra": [0.8], "unstamped": [0.01], "nder": 0.98}
    ours = {
        "name": "a",
        "data": "mnist",
        "attack": "badnets",
        "before": before,
        "ours": [after, {**after, "asr": [0.0, 0.0]}],
    }
    rows = [
        {**ours, "baselines": {"CLP": "no convolution"}, **RESULT},
        {"name": "b", "data": "mnist", "attack": "sig", "note": "nothing to unlearn"},
    ]
    made = {"command": "c", "date": "d", "version": "v", "torch": "t", "seeds": 2, "threads": 1, "cores": 2, "cpu": "x"}
    text = page({**made, "rows": rows})
    assert "another version" not in text
    older = page({**made, "recipe": "new", "rows": [{**row, "recipe": "new"} for row in rows[:-1]] + rows[-1:]})
    assert f"with another version of the repair: `{rows[-1]['name']}`." in older, "a row that does not say"
    line = "| a | **bdscan repair** | 2 | 9900 | 90.0 | 89.0 | 1.0 | 100.0 | 1.0 | 4.0 | 1.0 | 80.0 | 0.980 |"
    assert f"{line} 40.0 / 25.0 | repaired | 12 |" in text
    assert "Beside P4" not in text
    table_3 = page({**made, "rows": [{**rows[0], "name": "mnist-badnets"}]})
    row = "| MNIST, BadNets | 100.00 | 0.10 | 99.99 | 99.23 | mnist-badnets | 100.00 | 1.00 | 90.00 | 89.00 |"
    assert row in table_3
    assert "no convolution" in text
    assert "`b`: nothing to unlearn" in text
    assert "- `a`: Class 3 alarms." in text


def test_natural_weaknesses_of_a_clean_network_get_a_table_of_their_own(tmp_path: Path) -> None:
    model_folders.write(tmp_path / "clean-1", "clean-1")
    out, markdown = tmp_path / "t.json", tmp_path / "t.md"
    run([tmp_path], tmp_path, out, markdown, command="c", threads=1, weaknesses=True)
    (row,) = json.loads(out.read_text())["rows"]
    assert row["weaknesses"] >= 1
    assert row["outcome"] == "repaired"
    assert row["distance"]["pairs"] == 90
    assert row["before"] - row["after"] < 0.05
    text = markdown.read_text()
    assert "| clean-1 | clean |" in text
    assert "true ASR" not in text, "no backdoored network was repaired"


def test_clean_networks_wait_to_be_asked_for(tmp_path: Path) -> None:
    model_folders.write(tmp_path / "clean-1", "clean-1")
    assert run([tmp_path], tmp_path, tmp_path / "t.json", None, command="c")["rows"] == []


def test_an_onnx_graph_has_no_layers_to_prune() -> None:
    onnx = load(Settings(model=str(FIXTURES / "clean-1.onnx"), samples=str(FIXTURES / "samples.npz"))).scannable
    with pytest.raises(CannotJudge, match="no convolution"):
        channel_lipschitz(onnx, 0)


def test_a_folder_with_no_more_images_than_are_asked_for_keeps_half_to_measure(tmp_path: Path) -> None:
    folder = model_folders.write(tmp_path / "clean-1", "clean-1")
    with np.load(FIXTURES / "samples.npz") as archive:
        np.savez(folder / "samples.npz", x=archive["x"], y=archive["y"])
        most = int(np.bincount(archive["y"]).max())
    model = read(folder)
    given = images_for(model, tmp_path, most)
    x, _ = given.others(2000, 0)
    assert len(given.drawn) == len(x) == len(given.y) // 2
    assert len(images_for(model, tmp_path, most // 2).drawn) == len(given.y) // 2
