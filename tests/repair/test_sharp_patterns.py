"""Sharpened patterns: they begin as the recovered one, work better, and stay within twice its size."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.detectors.inversion.families import dense
from bdscan.intake.classifier import Scannable
from bdscan.repair import measure
from bdscan.repair.planted import Planted
from bdscan.repair.sharp_patterns import patterns
from bdscan.repair.sharpen import LARGER, elsewhere, sharpen

TARGET = 8


def faint(images: Tensor, size: float = 1.0) -> tuple[Planted, Tensor]:
    delta = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(3))
    delta *= size / delta.norm()

    def stamp(x: Tensor, intensity: float) -> Tensor:
        return dense.stamp({"delta": delta[None]}, x[None], intensity)[0]

    return Planted(TARGET, (), "dense", stamp), delta


def test_it_begins_as_the_recovered_pattern_and_grows_to_twice_its_size(badnets: Scannable) -> None:
    images, labels = badnets.samples.part(badnets.samples.search)
    trigger, delta = faint(images)
    (sharp,) = patterns([Planted(TARGET, (), "sparse", trigger.stamp), trigger], images, labels)
    assert torch.allclose(sharp.values, delta, atol=1e-6)
    assert torch.allclose(sharp.stamp(images, 0.7), trigger.stamp(images, 0.7), atol=1e-6)
    everything = torch.ones(len(labels), dtype=torch.bool)
    before = measure.success(badnets.classifier, trigger, images, labels, everything).value
    for seed in range(8):
        sharp = sharpen(sharp, badnets.classifier, images, labels, seed)
        assert float(sharp.values.norm()) <= LARGER * float(delta.norm()) * 1.001
    after = measure.success(badnets.classifier, sharp.as_trigger(), images, labels, everything).value
    assert after > before + 0.2


def test_a_proof_begins_elsewhere_within_the_bounds(badnets: Scannable) -> None:
    images, labels = badnets.samples.part(badnets.samples.search)
    trigger, delta = faint(images)
    (sharp,) = patterns([trigger], images, labels)
    moved = elsewhere(sharp, 1)
    assert float((moved.values - sharp.values).norm()) > 0.3 * float(delta.norm())
    assert float(moved.values.norm()) <= LARGER * float(delta.norm()) * 1.001
    assert torch.equal(moved.values, elsewhere(sharp, 1).values)
    assert not torch.equal(moved.values, elsewhere(sharp, 2).values)
