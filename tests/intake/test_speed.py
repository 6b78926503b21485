"""The fast twin computes the same function."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from toys import load_toy

from bdscan.intake import load
from bdscan.intake.calls import Watch
from bdscan.intake.classifier import Classifier
from bdscan.intake.presented import Mould, Presented
from bdscan.intake.speed import fast, has_bfloat16
from bdscan.report import Preprocessing
from bdscan.settings import Settings


@pytest.mark.parametrize("name", ["warp.pt", "clean-1.onnx"])
def test_folding_keeps_the_logits(fixtures_dir: Path, name: str) -> None:
    intake = load(Settings(model=f"{fixtures_dir}/{name}", samples=f"{fixtures_dir}/samples.npz", device="cpu"))
    slow = intake.scannable.classifier
    quick = fast(slow)
    images = intake.scannable.samples.images.float() / 255
    torch.testing.assert_close(quick(images), slow(images), atol=1e-3, rtol=1e-3)
    assert quick.module is not slow.module
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in quick.module.modules())


def test_nothing_to_gain_is_no_twin_of_another_function(tmp_path: Path) -> None:
    slow = load_toy(tmp_path).scannable.classifier
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(fast(slow)(images), slow(images))


def _resnet18() -> Classifier:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None, num_classes=5).eval().requires_grad_(False)
    forward = Presented(network, Preprocessing(), Mould((3, 96, 96)))
    return Classifier(forward, tuple("abcde"), (3, 96, 96), torch.device("cpu"), Preprocessing(), module=network)


def test_large_networks_run_in_bfloat16_where_the_cpu_has_it() -> None:
    slow = _resnet18()
    quick = fast(slow)
    assert isinstance(quick.forward, Presented)
    assert (quick.forward.dtype is torch.bfloat16) == has_bfloat16(torch.device("cpu"))
    images = torch.rand(2, 3, 96, 96, requires_grad=True)
    logits = quick(images)
    assert logits.dtype is torch.float32
    wanted = slow(images).detach()
    assert float((logits.detach() - wanted).abs().mean()) < 0.1 * float(wanted.std() + 1e-3)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
    (exact,) = torch.autograd.grad(slow(images)[:, 0].sum(), images)
    assert float(torch.cosine_similarity(gradient.flatten(), exact.flatten(), 0)) > 0.95


def test_multiply_accumulates_are_the_published_ones() -> None:
    """torchvision's documentation gives 1.81 GFLOPS (multiply-adds) for resnet18 at 224x224."""
    network = torchvision.models.resnet18(weights=None).eval()
    watch = Watch()
    with torch.no_grad(), watch:
        network(torch.rand(1, 3, 224, 224))
    assert watch.macs == pytest.approx(1.81e9, rel=0.01)


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16 instructions")
def test_an_onnx_graph_in_bfloat16(fixtures_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bdscan.intake.speed.LARGE", 0)
    model, samples = f"{fixtures_dir}/clean-1.onnx", f"{fixtures_dir}/samples.npz"
    intake = load(Settings(model=model, samples=samples, device="cpu"))
    quick = fast(intake.scannable.classifier)
    assert isinstance(quick.forward, Presented)
    assert quick.forward.dtype is torch.bfloat16
    images, labels = intake.scannable.samples.images.float() / 255, intake.scannable.samples.labels
    assert float((quick(images).argmax(1) == labels).double().mean()) > intake.subject.clean_accuracy - 0.03
