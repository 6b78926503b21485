"""Final softmax and log-softmax are stripped wherever they sit, also where probabilities saturate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from toys import load_toy, toy

from bdscan.errors import CannotJudge
from bdscan.intake.output_kind import class_scores, output_kind

ARCH = """
import torch
from torch import nn
from torch.nn import functional
class Net(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        self.end = end
    def forward(self, x):
        attention = torch.softmax(x.flatten(1), 1)  # not the final one
        return self.end(self.body(x) + 0 * attention.sum(1, keepdim=True))
def module(): return Net(nn.Softmax(dim=1))
def functional_call(): return Net(lambda z: functional.softmax(z, dim=-1))
def method(): return Net(lambda z: z.softmax(1))
def log_module(): return Net(nn.LogSoftmax(dim=1))
def several(): return Net(lambda z: (z.softmax(1), z))
def mapping(): return Net(lambda z: {"features": z[:, :, None], "logits": z})
def by_hand(): return Net(lambda z: z.exp() / z.exp().sum(1, keepdim=True))
def plain(): return Net(lambda z: z)
"""
GAIN = 40.0  # probabilities of exactly 1.0 in float32


def _saved(folder: Path, gain: float) -> tuple[Path, Path]:
    arch, weights = folder / "nets.py", folder / "weights.pt"
    arch.write_text(ARCH)
    torch.save({f"body.{key}": value for key, value in toy(gain=gain).state_dict().items()}, weights)
    return arch, weights


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("module", "probabilities"),
        ("functional_call", "probabilities"),
        ("method", "probabilities"),
        ("several", "probabilities"),
        ("log_module", "log-probabilities"),
        ("mapping", "logits"),
        ("plain", "logits"),
    ],
)
def test_logits_behind_saturated_outputs(tmp_path: Path, factory: str, kind: str) -> None:
    arch, weights = _saved(tmp_path, GAIN)
    fixed = "scale=1"  # one presentation, so that logits can be compared
    intake = load_toy(tmp_path, weights, arch=f"{arch}:{factory}", preprocessing=fixed)
    assert intake.subject.output == kind
    assert not any("could not be removed" in note for note in intake.subject.notes)
    classifier, samples = intake.scannable.classifier, intake.scannable.samples
    images = (samples.images.float() / 255).requires_grad_(True)
    logits = classifier(images)
    torch.testing.assert_close(logits, toy(gain=GAIN)(images), atol=1e-4, rtol=1e-5)
    margins = logits.gather(1, samples.labels[:, None]).squeeze(1) - logits.topk(2, 1).values[:, 1]
    (gradient,) = torch.autograd.grad(margins.sum(), images)
    assert bool((gradient.flatten(1).abs().amax(1) > 1).all())  # through a saturated softmax all would be 0


def test_softmax_by_hand_falls_back_to_logarithms(tmp_path: Path) -> None:
    arch, weights = _saved(tmp_path, 2.0)
    intake = load_toy(tmp_path, weights, arch=f"{arch}:by_hand", preprocessing="scale=1")
    assert any("could not be removed" in note for note in intake.subject.notes)
    images = intake.scannable.samples.images.float() / 255
    expected = toy(gain=2.0)(images).log_softmax(1)
    torch.testing.assert_close(intake.scannable.classifier(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("make", ["trace", "script"])
def test_torchscript(tmp_path: Path, make: str) -> None:
    module = torch.nn.Sequential(*toy(gain=GAIN), torch.nn.Softmax(dim=1)).eval()
    program = torch.jit.trace(module, torch.rand(2, 1, 8, 8)) if make == "trace" else torch.jit.script(module)
    torch.jit.save(program, tmp_path / "model.ts")
    intake = load_toy(tmp_path, tmp_path / "model.ts", preprocessing="scale=1")
    assert intake.subject.format == "TorchScript"
    assert intake.subject.output == "probabilities"
    images = intake.scannable.samples.images.float() / 255
    torch.testing.assert_close(intake.scannable.classifier(images), toy(gain=GAIN)(images), atol=1e-4, rtol=1e-5)


def test_kinds() -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(1)) * 5
    assert output_kind(logits) == "logits"
    assert output_kind(logits.softmax(1)) == "probabilities"
    assert output_kind(logits.log_softmax(1)) == "log-probabilities"
    assert output_kind(logits.sigmoid()) == "logits"
    assert output_kind(functional.one_hot(logits.argmax(1), 7).float()) == "probabilities"
    assert output_kind(-logits.abs()) == "logits"


def test_class_scores() -> None:
    scores = torch.rand(3, 5)
    assert class_scores((torch.rand(3, 8, 4, 4), scores), 3) is scores
    assert class_scores({"features": torch.rand(3, 9), "logits": scores}, 3) is scores
    assert class_scores(scores[:, :, None, None], 3).shape == (3, 5)
    for wrong in (torch.rand(3, 1), torch.rand(3), torch.rand(2, 5), [{"boxes": torch.rand(4, 4)}], None):
        with pytest.raises(CannotJudge):
            class_scores(wrong, 3)
