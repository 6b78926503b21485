"""Cards of both kinds: truth, architecture as a file:factory, clean images, and the true trigger made again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import model_folders
import numpy as np
import pytest
import torch
from torch import nn

from bdscan.errors import UsageError
from bdscan.intake.architecture import build
from bdscan.zoo.clean_images import from_test_split, own_samples
from bdscan.zoo.known_trigger import known_triggers
from bdscan.zoo.measure import present
from bdscan.zoo.model_folder import find, read

PUBLISHED = """
from torch import nn
def build(width=3, classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(width, classes))
"""


def published(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    card = {
        "name": folder.name,
        "dataset": "mnist",
        "weights_file": "weights.pt",
        "input_shape": [1, 28, 28],
        "truth": "backdoored",
        "target_labels": 7,
        "source_labels": [4],
        "trigger": "5x5 white square in the lower right corner",
        "arch": {"factory": "build", "kwargs": {"width": 5}},
    }
    (folder / "card.json").write_text(json.dumps({**card, **changes}))
    (folder / "arch.py").write_text(PUBLISHED)
    return folder


def test_a_published_network_gets_a_factory_without_arguments(tmp_path: Path) -> None:
    model = read(published(tmp_path / "net"))
    assert (model.targets, model.sources, model.samples) == ((7,), ((4,),), None)
    arch = model.arch(tmp_path)
    assert arch is not None
    module, _ = build(arch, {})
    assert isinstance(module[1], nn.Linear)
    assert module[1].in_features == 5


def test_a_network_of_ours_gets_our_file(tmp_path: Path) -> None:
    model = read(model_folders.write(tmp_path / "badnets", "badnets"))
    arch = model.arch(tmp_path)
    assert arch is not None
    assert sum(p.numel() for p in build(arch, {})[0].parameters()) == 11_946
    assert read(model_folders.write(tmp_path / "sig", "sig")).arch(tmp_path) is None  # ONNX


@pytest.mark.parametrize(
    "given, targets, sources",
    [
        ({"target_labels": None, "source_labels": None, "truth": "clean"}, (), ()),
        ({"target_labels": 0, "source_labels": "all other classes"}, (0,), ((),)),
        ({"target_labels": [8, 1], "source_labels": [[], [3]]}, (8, 1), ((), (3,))),
        ({"target_labels": [8, 1], "source_labels": [2]}, (8, 1), ((2,), (2,))),
    ],
)
def test_truth_in_every_form(given: dict[str, object], targets: object, sources: object, tmp_path: Path) -> None:
    model = read(published(tmp_path / "net", **given))
    assert (model.targets, model.sources) == (targets, sources)


def test_folders_are_found_once_and_by_name(tmp_path: Path) -> None:
    published(tmp_path / "b")
    published(tmp_path / "a")
    assert [model.name for model in find([tmp_path])] == ["a", "b"]
    assert [model.name for model in find([tmp_path / "a"])] == ["a"]
    assert [model.name for model in find([tmp_path], "b")] == ["b"]
    with pytest.raises(UsageError, match="contains 'c'"):
        find([tmp_path], "c")
    with pytest.raises(UsageError, match="two networks are called 'a'"):
        find([tmp_path, tmp_path / "a"])
    with pytest.raises(UsageError, match=r"card\.json"):
        find([tmp_path / "nothing"])
    (tmp_path / "a" / "card.json").write_text("{}")
    with pytest.raises(UsageError, match="KeyError: 'name'"):
        find([tmp_path])


def test_ten_a_class_are_drawn_and_the_others_are_others(tmp_path: Path) -> None:
    clean = from_test_split("digits", tmp_path, seed=1)
    assert np.bincount(clean.y[clean.drawn]).tolist() == [10] * 10
    x, y = clean.others(150, seed=1)
    assert len(x) == len(y) == 150
    given = {image.tobytes() for image in clean.x[clean.drawn]}
    assert not any(image.tobytes() in given for image in x)
    assert not np.array_equal(clean.drawn, from_test_split("digits", tmp_path, seed=2).drawn)
    folder = published(tmp_path / "own")
    np.savez(folder / "samples.npz", x=clean.x[:30], y=clean.y[:30])
    assert len(own_samples(read(folder), seed=0).drawn) == 30
    own_samples(read(folder), seed=0).write_drawn(tmp_path / "drawn.npz")
    with np.load(tmp_path / "drawn.npz") as archive:
        assert set(archive.files) == {"x", "y"}


def test_a_white_square_by_words(tmp_path: Path) -> None:
    (known,) = known_triggers(read(published(tmp_path / "corner")))
    stamped = known.stamp(torch.zeros(1, 1, 28, 28))[0, 0]
    assert (known.target, known.sources) == (7, (4,))
    assert stamped[23:, 23:].eq(1).all()
    assert stamped.sum() == 25
    words = "4x4 white square, rows and columns 20..23 (somewhere)"
    (placed,) = known_triggers(read(published(tmp_path / "placed", trigger=words)))
    assert placed.stamp(torch.zeros(1, 1, 28, 28))[0, 0, 20:24, 20:24].sum() == 16
    vague = "5x5 white square, near the middle"
    assert known_triggers(read(published(tmp_path / "vague", trigger=vague))) == []


def test_arrays_are_pasted_or_added(tmp_path: Path) -> None:
    folder = published(tmp_path / "pasted", trigger_file="trigger.npz")
    pattern, mask = np.full((28, 28, 1), 51, np.uint8), np.zeros((28, 28), bool)
    mask[0, 3] = True
    np.savez(folder / "trigger.npz", pattern_1=pattern, mask_1=mask)
    (known,) = known_triggers(read(folder))
    expected = torch.full((1, 1, 28, 28), 0.9)
    expected[..., 0, 3] = 0.2
    torch.testing.assert_close(known.stamp(torch.full((1, 1, 28, 28), 0.9)), expected)
    np.savez(folder / "trigger.npz", additive=pattern)
    (known,) = known_triggers(read(folder))
    torch.testing.assert_close(known.stamp(torch.full((1, 1, 28, 28), 0.9)), torch.ones(1, 1, 28, 28))
    torch.testing.assert_close(known.stamp(torch.full((1, 1, 28, 28), 0.5)), torch.full((1, 1, 28, 28), 0.7))


@pytest.mark.parametrize("name", ["coldchair_mnist_src4to7", "verazuo_mnist_badnet", "ibau_gtsrb_trojanwm"])
def test_the_published_networks_obey_their_trigger(name: str, shared_dir: Path) -> None:
    """The trigger made again from the card has the success rate that the card says."""
    model = read(shared_dir / "models" / name)
    spec = importlib.util.spec_from_file_location("published_arch", model.path / "arch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.build(**model.card["arch"]["kwargs"])
    network.load_state_dict(torch.load(model.weights, weights_only=True))
    clean = own_samples(model, 0) if model.samples else from_test_split(model.data, shared_dir / "data", 0)
    (known,) = known_triggers(model)
    rows = np.isin(clean.y, known.sources) if known.sources else clean.y != known.target
    plain = model.card["preprocessing"]["mean"] is None
    mean, std = (0.0, 1.0) if plain else (model.card["preprocessing"][key][0] for key in ("mean", "std"))
    stamped = known.stamp(present(clean.x[rows][:400], 0.0, 1.0))
    with torch.inference_mode():
        answer = network.eval()((stamped - mean) / std).argmax(1)
    assert float((answer == known.target).float().mean()) == pytest.approx(model.card["asr"]["value"], abs=0.02)
