"""Nine networks that others trained: the loader finds how they want their pixels, told only the architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ten_per_class import ten_per_class

from bdscan.intake import Intake, load
from bdscan.settings import Settings

NAMES = (
    "aeva_cifar_resnet20_dynamic",
    "akamaster_resnet20",
    "coldchair_mnist_src4to7",
    "ibau_cifar_badnets",
    "ibau_gtsrb_trojanwm",
    "moth_resnet20_adv",
    "nad_wrn16_grid",
    "verazuo_mnist_badnet",
    "vnncomp_resnet_2b",
)
DATA = {"cifar10": "cifar10-test.npz", "mnist": "mnist.npz"}
KINDS = {"softmax probabilities": "probabilities", "logits": "logits"}


def _load(shared: Path, name: str, scratch: Path) -> tuple[dict, Intake]:
    folder = shared / "models" / name
    card = json.loads((folder / "card.json").read_text())
    samples = folder / "samples.npz"
    if not samples.exists():
        samples = ten_per_class(shared / "data" / DATA[card["dataset"]], scratch / "samples.npz")
    model = folder / card["weights_file"]
    arch = None if model.suffix == ".onnx" else f"{folder}/arch.py:build"
    return card, load(Settings(model=str(model), samples=str(samples), arch=arch, device="cpu"))


@pytest.mark.parametrize("name", NAMES)
def test_presentation_agrees_with_the_card(shared_dir: Path, tmp_path: Path, name: str) -> None:
    card, intake = _load(shared_dir, name, tmp_path)
    subject, classifier = intake.subject, intake.scannable.classifier
    wanted = card["preprocessing"]
    assert subject.output == KINDS[card["output"]]
    assert len(subject.classes) == card["num_classes"]
    assert subject.clean_accuracy == pytest.approx(card["clean_accuracy"]["value"], abs=0.08)
    found = subject.preprocessing
    assert found.layout == card["input_layout"]
    assert found.channel_order in (wanted["channel_order"], "grey")
    assert found.scale == (255.0 if wanted["input_scale"] == "0..255" else 1.0)
    assert bool(found.mean) == bool(wanted["mean"])
    if wanted["mean"]:  # neighbouring data sets' statistics are equally accurate and cannot be told apart
        assert found.mean == pytest.approx(wanted["mean"], abs=0.05)
        assert found.std == pytest.approx(wanted["std"], abs=0.06)

    images, _ = intake.scannable.samples.part(intake.scannable.samples.held_out[:8])
    logits = classifier(images)
    assert float(logits.max()) > 1.01  # no probabilities any more
    assert classifier.features is not None
    assert classifier.head is not None
    weight, bias = classifier.head
    torch.testing.assert_close(classifier.features(images) @ weight.T + bias, logits, atol=1e-4, rtol=1e-4)
    if model_is_onnx(card):
        assert subject.onnxruntime_difference is not None
        assert subject.onnxruntime_difference < 1e-3
        assert classifier.graph is not None


def model_is_onnx(card: dict) -> bool:
    return card["weights_file"].endswith(".onnx")


def test_wrong_samples_for_a_published_model(shared_dir: Path, tmp_path: Path) -> None:
    from bdscan.errors import UsageError

    folder = shared_dir / "models" / "akamaster_resnet20"
    samples = ten_per_class(shared_dir / "data" / "gtsrb.npz", tmp_path / "samples.npz", count=2)
    settings = Settings(
        model=f"{folder}/weights.pt", samples=str(samples), arch=f"{folder}/arch.py:build", device="cpu"
    )
    with pytest.raises(UsageError, match="label 42 but the model has 10 outputs"):
        load(settings)
