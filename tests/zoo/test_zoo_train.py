"""Training: one backdoor on digits, twice; its folder on disk; data sets that cannot be read; the plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.cli.zoo import _attack
from bdscan.errors import UsageError
from bdscan.zoo import fit as fitting
from bdscan.zoo import networks, plan, survey, titim
from bdscan.zoo.attacks import from_spec
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.interface import stamp
from bdscan.zoo.data import load, resize
from bdscan.zoo.fit import augment
from bdscan.zoo.measure import predict
from bdscan.zoo.settings import RECIPES, Recipe, Settings
from bdscan.zoo.train import Trained, save, train

SETTINGS = Settings(
    name="digits-badnets",
    data="digits",
    network="digits_bn",
    attack=BadNets(target=8),
    seed=3,
    mean=0.5,
    std=0.25,
    recipe=replace(RECIPES["digits_bn"], epochs=6),
)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(SETTINGS, load("digits"))


def test_the_backdoor_takes_and_the_card_says_so(trained: Trained) -> None:
    assert trained.card["asr"]["value"] >= 0.95
    assert trained.card["clean_accuracy"]["value"] >= 0.93
    assert trained.card["target_labels"] == [8]
    assert trained.card["device"] == "cpu"
    assert trained.card["training_images"] == {"clean": 1257, "poison": 140, "cover": 0}


def test_bfloat16_is_left_out_where_the_processor_would_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(SETTINGS, recipe=replace(SETTINGS.recipe, epochs=1))
    asked = replace(short, recipe=replace(short.recipe, bfloat16=True))
    plain = train(short, load("digits"))
    monkeypatch.setattr(fitting, "has_bfloat16", lambda device: False)
    same = train(asked, load("digits"))
    monkeypatch.setattr(fitting, "has_bfloat16", lambda device: True)
    coarse = train(asked, load("digits"))
    assert [one.card["precision"] for one in (plain, same, coarse)] == ["float32", "float32", "bfloat16"]
    weights = [torch.cat([value.flatten() for value in one.model.parameters()]) for one in (plain, same, coarse)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_saved_folder_gives_the_same_success_again(trained: Trained, tmp_path: Path) -> None:
    save(trained, tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    model = getattr(networks, card["arch"].split(":")[1])()
    model.load_state_dict(torch.load(tmp_path / card["weights_file"], weights_only=True))
    data, attack = load("digits"), from_spec(card["settings"]["attack"])
    rows = data.y_test != 8
    stamped = stamp(attack.apply, data.x_test[rows], 1.0, np.random.default_rng(0))
    with np.load(tmp_path / card["trigger_file"], allow_pickle=False) as arrays:
        pattern, mask = arrays["pattern"].transpose(1, 2, 0), arrays["mask"][..., None]
    by_arrays = np.round(data.x_test[rows] * (1 - mask) + 255 * pattern * mask).astype(np.uint8)
    assert np.array_equal(stamped, by_arrays)
    (mean,), (std,) = card["preprocessing"]["mean"], card["preprocessing"]["std"]
    success = (predict(model, stamped, mean, std) == 8).mean()
    assert success == pytest.approx(card["asr"]["value"], abs=1e-4)


def test_the_same_settings_give_the_same_weights() -> None:
    short = replace(SETTINGS, limit=256, recipe=Recipe(epochs=1, shift=1, flip=True))
    once, again, other = (
        train(settings, load("digits")).model.state_dict() for settings in (short, short, replace(short, seed=4))
    )
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert not torch.equal(once["0.weight"], other["0.weight"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which would train")
def test_a_device_that_is_not_there_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no CUDA device is available"):
        train(SETTINGS, load("digits"), device="cuda")
    words = ["zoo", "plan", "references", str(tmp_path), "--only", "digits_bn-0", "--device", "cuda"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


TRAINING_COMMANDS = {
    "survey": ("references", "--only", "digits_bn-0"),
    "titim": ("--set", "digits", "--network", "digits_cnn", "--attack", "badnets"),
}


def command(name: str, folder: Path, *more: str) -> tuple[int, str]:
    """Its exit code and what it says on stderr."""
    words = ["zoo", name, *TRAINING_COMMANDS[name], "--data", str(folder), "--out", str(folder / "out"), *more]
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which would train")
@pytest.mark.parametrize("name", list(TRAINING_COMMANDS))
def test_surveys_and_titim_refuse_a_device_that_is_not_there(name: str, tmp_path: Path) -> None:
    refused = "bdscan: --device cuda: no CUDA device is available; use --device cpu\n"
    assert command(name, tmp_path, "--device", "cuda") == (2, refused)
    code, said = command(name, tmp_path, "--device", "gpu")
    assert code == 2
    assert "'gpu' is not one of 'auto', 'cpu', 'cuda'" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list(TRAINING_COMMANDS))
@pytest.mark.parametrize("given, trained", [((), "cpu"), (("--device", "cpu"), "cpu"), (("--device", "auto"), "auto")])
def test_surveys_and_titim_train_where_they_are_told(
    given: tuple[str, ...], trained: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def here(settings: Settings, data: object, threads: int, device: str) -> None:
        asked.append(device)
        raise UsageError("enough")

    monkeypatch.setattr(survey if name == "survey" else titim, "train", here)
    assert command(name, tmp_path, *given) == (2, "bdscan: enough\n")
    assert asked == [trained]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("changes", [{}, {"resist": 0.02}, {"recipe": replace(SETTINGS.recipe, adversarial=0.02)}])
def test_a_gpu_trains_as_well(changes: dict[str, Any]) -> None:
    card = train(replace(SETTINGS, **changes), load("digits"), device="cuda").card
    assert card["device"] == "cuda"
    assert card["clean_accuracy"]["value"] >= 0.9


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_has_a_network_that_fits_its_data(name: str) -> None:
    shapes = {"mnist": (1, 28, 28, 10), "gtsrb": (3, 32, 32, 43), "yaleb": (1, 224, 224, 38), "digits": (1, 16, 16, 10)}
    *shape, classes = shapes.get(name.split("_")[0], (3, 32, 32, 10))
    classes = int(name[-1]) if name[-2] == "_" else classes  # `mnist_cnn_2` and the like
    model = getattr(networks, name)().eval()
    assert model(torch.zeros(1, *shape)).shape == (1, classes)


def test_the_paper_s_networks_have_its_sizes() -> None:
    sizes = [sum(p.numel() for p in build().parameters()) for build in (networks.mnist_cnn, networks.gtsrb_cnn)]
    assert sizes[1] == 571_723
    assert sizes[0] == pytest.approx(413_882, rel=1e-3)


def test_augmentation_moves_and_mirrors() -> None:
    picture = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3).repeat(64, 1, 1, 1)
    draw = torch.Generator().manual_seed(0)
    mirrored = augment(picture, Recipe(flip=True), draw)
    assert {tuple(row) for row in mirrored[:, 0, 0].tolist()} == {(0, 1, 2), (2, 1, 0)}
    moved = augment(picture, Recipe(shift=1), draw)[:, 0]
    assert {int(value) for value in moved[:, 1, 1]} == set(range(9))
    down_right = next(one for one in moved if one[1, 1] == 8)
    assert down_right.tolist() == [[4, 5, 5], [7, 8, 8], [7, 8, 8]]


def test_data_sets_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name it with --data"):
        load("mnist")
    with pytest.raises(UsageError, match="no such file"):
        load("mnist", tmp_path)
    (tmp_path / "mnist.npz").write_text("not a zip")
    with pytest.raises(UsageError, match="not a data set"):
        load("mnist", tmp_path)
    x, y = np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.int64)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y, classes=np.array(["0"]))
    with pytest.raises(UsageError, match="uint8"):
        load("mnist", tmp_path)


def test_resize_keeps_colours_and_corners() -> None:
    x = np.zeros((2, 4, 4, 3), np.uint8)
    x[:, :2, :, 0] = 200
    large = resize(x, (8, 12))
    assert large.shape == (2, 8, 12, 3)
    assert large[0, 0, 0].tolist() == [200, 0, 0]
    assert large[0, -1, -1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("data", "changes", "said"),
    [
        ("digits", {"network": "mnist_cnn"}, "mnist_cnn does not take the images of digits"),
        ("digits", {"attack": BadNets(target=12)}, "names class 12; digits has 0 to 9"),
        ("digits", {"attack": BadNets(target=1, size=20)}, "does not fit images of 16x16"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_training(data: str, changes: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        train(replace(SETTINGS, **changes), load(data))


def test_a_network_of_other_settings_is_not_taken_for_the_plan_s(trained: Trained, tmp_path: Path) -> None:
    assert not plan.is_made(tmp_path, SETTINGS)
    save(trained, tmp_path)
    assert plan.is_made(tmp_path, SETTINGS)
    with pytest.raises(UsageError, match="other settings"):
        plan.is_made(tmp_path, replace(SETTINGS, seed=4))
    save(replace(trained, trigger={}), tmp_path)
    assert not (tmp_path / "trigger.npz").exists(), "of the network before"


@pytest.mark.parametrize(
    ("given", "target"), [("badnets", 3), ('{"attack": "badnets"}', 3), ('{"attack": "badnets", "target": 5}', 5)]
)
def test_the_target_option_counts_unless_the_attack_names_its_own(given: str, target: int) -> None:
    assert _attack(given, 3, (), 10) == BadNets(target=target)


def test_a_plan_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(SETTINGS, attack=None, limit=128, recipe=Recipe(epochs=1))
    monkeypatch.setattr(plan, "PLANS", {"short": lambda: (short, replace(short, name="other"))})
    said: list[str] = []
    assert plan.run_plan("short", tmp_path, None, only="digits", note=said.append) == [tmp_path / short.name]
    written = (tmp_path / short.name / "weights.pt").stat().st_mtime_ns
    plan.run_plan("short", tmp_path, None, only="digits", note=said.append)
    assert (tmp_path / short.name / "weights.pt").stat().st_mtime_ns == written
    assert said[1] == "digits-badnets: there already"
    with pytest.raises(UsageError, match="no model"):
        plan.run_plan("short", tmp_path, None, only="absent")
    with pytest.raises(UsageError, match="unknown plan"):
        plan.run_plan("long", tmp_path, None)


def test_the_scan_s_plan_is_whole() -> None:
    chosen = plan.scan_judge()
    names = [settings.name for settings in chosen]
    assert len(set(names)) == len(names)
    for data in ("mnist", "gtsrb", "cifar10"):
        kinds = {name.removeprefix(f"{data}-") for name in names if name.startswith(data)}
        assert kinds >= {"clean-0", "clean-1", "clean-2", "badnets", "sig", "source", "blended", "warp"}
    assert {"mnist-multi", "yaleb-clean-0", "yaleb-badnets"} <= set(names)
    assert all(json.dumps(settings.to_json()) for settings in chosen)
