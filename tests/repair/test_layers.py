"""How far a student's layers moved from the original's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bdscan.intake.calls import Layers
from bdscan.intake.load import load
from bdscan.repair.layers import answered, moved
from bdscan.repair.student import student_of
from bdscan.settings import Settings


def test_convolutions_and_linear_layers_are_seen_in_their_order() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 5), nn.ReLU(), nn.Linear(5, 3)
    )
    with Layers() as seen:
        out = network(torch.rand(7, 1, 4, 4))
    assert [tuple(each.shape) for each in seen.results] == [(7, 2, 2, 2), (7, 5), (7, 3)]
    assert torch.equal(seen.results[-1], out)


def test_what_a_script_computes_is_not_seen(fixtures_dir: Path) -> None:
    settings = Settings(model=str(fixtures_dir / "two-triggers.ts"), samples=str(fixtures_dir / "samples.npz"))
    with Layers() as seen:
        load(settings).scannable.classifier(torch.rand(4, 1, 16, 16))
    assert seen.results == []
    assert moved(seen.results, seen.results, torch.ones(4, dtype=torch.bool)) is None


def test_nothing_is_kept_where_nothing_is_watched(fixtures_dir: Path) -> None:
    settings = Settings(model=str(fixtures_dir / "sig.onnx"), samples=str(fixtures_dir / "samples.npz"))
    classifier, images = load(settings).scannable.classifier, torch.rand(4, 1, 16, 16)
    logits, layers = answered(classifier, images, False)
    again, kept = answered(classifier, images, True)
    assert layers == []
    assert kept
    assert torch.equal(logits, again)


def test_the_change_by_hand() -> None:
    """Two layers; the second image does not count, and the student's answers to other images are not looked at."""
    usual = [torch.tensor([[3.0, 4.0], [9.0, 9.0]]), torch.tensor([[2.0], [7.0]])]
    now = [torch.tensor([[3.0, 5.0], [0.0, 0.0], [8.0, 8.0]]), torch.tensor([[0.0], [0.0], [5.0]])]
    rows = torch.tensor([True, False])
    change = moved(now, usual, rows)
    assert change is not None
    assert float(change) == pytest.approx((1 / 25 + 1) / 2)
    assert float(moved(usual, usual, rows)) == 0
    assert moved(now, usual, torch.tensor([False, False])) is None


def test_a_batch_in_pieces_or_another_number_of_layers_is_not_compared() -> None:
    rows = torch.ones(4, dtype=torch.bool)
    pieces = [torch.rand(2, 3), torch.rand(2, 3)]
    assert moved(pieces, pieces, rows) is None
    assert moved([torch.rand(8, 3)] * 2, [torch.rand(4, 3)], rows) is None
    assert moved([torch.rand(8, 5)], [torch.rand(4, 3)], rows) is None


def test_a_student_of_an_onnx_graph_is_seen_and_learns_from_it(fixtures_dir: Path) -> None:
    samples = str(fixtures_dir / "samples.npz")
    subject = load(Settings(model=str(fixtures_dir / "sig.onnx"), samples=samples)).scannable
    images, _ = subject.samples.part(subject.samples.search)
    student = student_of(subject.classifier)
    with torch.no_grad():
        _, usual = answered(subject.classifier, images, True)
        for weight in student.weights:
            weight.mul_(1.1)
    _, now = answered(student.classifier, torch.cat([images, images]), True)
    change = moved(now, usual, torch.ones(len(images), dtype=torch.bool))
    assert change is not None
    assert change.item() > 0.01
    change.backward()
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in student.weights)
