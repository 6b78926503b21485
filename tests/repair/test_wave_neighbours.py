"""A wave brings those beside it; other triggers bring nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdscan.repair.planted import Planted
from bdscan.repair.waves import DRAWN, PHASES, STRONGER, drawn, neighbours


def wave(images: Tensor, intensity: float) -> Tensor:
    x = torch.arange(images.shape[3]) / images.shape[3]
    return (images + intensity * 0.1 * torch.sin(2 * math.pi * 5 * x)).clamp(0, 1)


def test_a_wave_of_five_cycles_brings_those_of_four_to_six() -> None:
    images = torch.full((2, 3, 24, 32), 0.5)
    (found,) = neighbours([Planted(1, (), "sparse", wave), Planted(2, (), "wave", wave)], images)
    assert {trigger.target for trigger in found} == {2}
    assert len(found) == 9 * PHASES
    cycles = set()
    for trigger in found:
        change = trigger.stamp(images, 1.0)[0, 0] - 0.5
        assert 0.09 * STRONGER < float(change.abs().max()) < 0.101 * STRONGER
        spectrum = torch.fft.rfft2(change).abs()
        cycles.add(divmod(int(spectrum.argmax()), spectrum.shape[1]))
    assert {(0, 4), (0, 5), (0, 6), (1, 5), (23, 6)} < cycles
    assert torch.allclose(found[0].stamp(images, 2.0) - 0.5, 2 * (found[0].stamp(images, 1.0) - 0.5), atol=1e-6)


def test_few_of_them_are_drawn_at_a_time() -> None:
    images = torch.full((2, 3, 24, 32), 0.5)
    beside = neighbours([Planted(2, (), "wave", wave), Planted(3, (), "wave", wave)], images)
    generator = torch.Generator().manual_seed(0)
    first, second = (list(drawn(beside, generator)) for _ in range(2))
    assert [trigger.target for trigger in first] == [2] * DRAWN + [3] * DRAWN
    assert len({id(trigger) for trigger in first}) == 2 * DRAWN
    assert {id(trigger) for trigger in first} != {id(trigger) for trigger in second}
    assert list(drawn([], generator)) == []
