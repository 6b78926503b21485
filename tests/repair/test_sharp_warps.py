"""Sharpened warps: they begin as the recovered one, work better, and stay within twice its size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bdscan.detectors.inversion.families import warp
from bdscan.intake.classifier import Scannable
from bdscan.repair import measure
from bdscan.repair.planted import Planted
from bdscan.repair.sharp_warps import warps
from bdscan.repair.sharpen import LARGER, MOST, sharpen

TARGET = 8


def bent(size: float, seed: int = 0, target: int = TARGET) -> tuple[Planted, Tensor]:
    grid = torch.randn(2, warp.GRID, warp.GRID, generator=torch.Generator().manual_seed(seed))
    grid *= size / grid.square().mean().sqrt()

    def stamp(images: Tensor, intensity: float) -> Tensor:
        return warp.stamp({"grid": grid[None]}, images[None], intensity)[0]

    return Planted(target, (), "warp", stamp), grid


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 32, 32), (3, 48, 64)])
def test_it_begins_as_the_recovered_warp(channels: int, height: int, width: int) -> None:
    draw = torch.Generator().manual_seed(1)
    images = torch.nn.functional.interpolate(torch.rand(4, channels, 8, 8, generator=draw), (height, width))
    trigger, _ = bent(0.05)
    (sharp,) = warps([trigger], images, torch.arange(4))
    moved = (trigger.stamp(images, 1.0) - images).abs().mean()
    assert float((sharp.stamp(images, 1.0) - trigger.stamp(images, 1.0)).abs().mean()) < 0.25 * float(moved)
    assert sharp.origin is trigger


def test_only_warps_have_them_and_only_the_first_of_a_target() -> None:
    images, labels = torch.rand(20, 1, 16, 16), torch.arange(20) % 10
    others = [Planted(TARGET, (), family, lambda x, a: x) for family in ("sparse", "dense")]
    nobody = Planted(TARGET, (11,), "warp", bent(0.05)[0].stamp)
    eight, three = [bent(0.05, seed)[0] for seed in range(3)], bent(0.05, target=3)[0]
    found = warps([*others, nobody, *eight, three], images, labels)
    assert [sharp.origin for sharp in found] == [*eight[:MOST], three]


def test_it_grows_to_twice_the_size_and_works_better(badnets: Scannable) -> None:
    images, labels = badnets.samples.part(badnets.samples.search)
    trigger, grid = bent(0.05)
    (sharp,) = warps([trigger], images, labels)
    everything = torch.ones(len(labels), dtype=torch.bool)
    before = measure.success(badnets.classifier, trigger, images, labels, everything).value
    for seed in range(6):
        sharp = sharpen(sharp, badnets.classifier, images, labels, seed)
        assert float(sharp.values.square().mean().sqrt()) <= LARGER * float(grid.square().mean().sqrt()) * 1.05
    after = measure.success(badnets.classifier, sharp.as_trigger(), images, labels, everything).value
    assert after > before + 0.2
    held = badnets.samples.part(badnets.samples.held_out)
    known = measure.right(badnets.classifier, *held)
    proof = measure.strongest(badnets.classifier, trigger, (images, labels), held, known, 0)
    assert proof is not None
    assert proof.n == int((trigger.victims(held[1]).cpu() & known).sum())
    assert proof.value > measure.success(badnets.classifier, trigger, *held, known).value
