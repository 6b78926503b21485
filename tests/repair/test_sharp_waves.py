"""Sharpened waves: they begin as the recovered one, find the planted one beside it, and stay within their bounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted
from bdscan.repair.sharp_waves import sines
from bdscan.repair.sharpen import elsewhere, sharpen
from bdscan.repair.waves import STRONGER
from bdscan.report import Preprocessing

TARGET = 1
IMAGES = 0.5 + 0.1 * torch.rand(20, 3, 24, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(20, dtype=torch.long)


def sine(number: float, phase: float) -> Tensor:
    return torch.sin(2 * math.pi * number * torch.arange(32) / 32 + phase).expand(24, 32)


def recovered(x: Tensor, intensity: float) -> Tensor:
    return (x + 0.1 * intensity * sine(5, 0.4)).clamp(0, 1)


def answers_to_six_cycles(x: Tensor) -> Tensor:
    """Logits (N, 2); the second is as large as the wave of six cycles and of one phase is strong."""
    strength = (x.mean(1) * sine(6, 1.0)).mean((1, 2))
    return torch.stack([torch.full_like(strength, 0.02), strength], 1)


def test_it_begins_as_the_recovered_wave_and_finds_the_one_beside_it() -> None:
    nobody = Planted(7, (0,), "wave", recovered)
    (sharp,) = sines([Planted(TARGET, (), "sparse", recovered), Planted(TARGET, (), "wave", recovered)], IMAGES, LABELS)
    assert torch.allclose(sharp.stamp(IMAGES, 0.7), recovered(IMAGES, 0.7), atol=1e-5)
    classifier = Classifier(
        answers_to_six_cycles, ("rest", "target"), (3, 24, 32), torch.device("cpu"), Preprocessing()
    )
    assert not bool((classifier.predict(sharp.stamp(IMAGES, 1.0)).argmax(1) == TARGET).any())
    size = float(sharp.values.norm())
    for seed in range(4):
        sharp = sharpen(sharp, classifier, IMAGES, LABELS, seed)
        assert float(sharp.values.norm()) <= STRONGER * size * 1.001
    assert bool((classifier.predict(sharp.stamp(IMAGES, 1.0)).argmax(1) == TARGET).all())
    assert sines([nobody], IMAGES, LABELS + 7) == []


def test_a_proof_begins_elsewhere_within_the_bounds() -> None:
    (sharp,) = sines([Planted(TARGET, (), "wave", recovered)], IMAGES, LABELS)
    moved = elsewhere(sharp, 1)
    assert float((moved.values - sharp.values).norm()) > 0.3 * float(sharp.values.norm())
    assert float(moved.values.norm()) <= STRONGER * float(sharp.values.norm()) * 1.001
