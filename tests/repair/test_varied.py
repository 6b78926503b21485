"""A repair's images, varied: in range, mirrored and turned only where that is asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bdscan.repair.recipe import Recipe
from bdscan.repair.varied import turned, varied


def pictures(count: int = 12) -> Tensor:
    return torch.rand(count, 1, 10, 10, generator=torch.Generator().manual_seed(0))


def test_varied_images_stay_in_range_and_differ() -> None:
    out = varied(pictures(), Recipe(), torch.Generator().manual_seed(1))
    assert out.shape == pictures().shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert not torch.equal(out, pictures())


def test_half_the_images_are_mirrored_where_that_is_allowed() -> None:
    """Bright on the left: mirrored images have their light on the right, mixed ones are left out."""
    images = torch.zeros(400, 1, 10, 10)
    images[..., :3] = 1.0

    def right(mirror: bool) -> float:
        out = varied(images, Recipe(mirror=mirror), torch.Generator().manual_seed(1))
        sides = torch.stack([out[..., 0].mean((1, 2)), out[..., -1].mean((1, 2))])
        clear = sides.amin(0) == 0
        return float((sides[1] > 0)[clear].float().mean())

    assert right(False) == 0
    assert right(True) == pytest.approx(0.5, abs=0.1)


def test_images_are_turned_where_that_is_asked_for() -> None:
    """The same shifts and mixes are drawn, so what differs is the turn."""
    plain, other = (varied(pictures(), Recipe(turn=turn), torch.Generator().manual_seed(1)) for turn in (False, True))
    assert not torch.equal(plain, other)
    assert 0 <= float(other.min()) <= float(other.max()) <= 1


def test_a_bar_is_turned_to_both_sides_about_the_middle_and_stays_as_large() -> None:
    """A vertical bar: its middle stays within a pixel, its upper end goes left in some images and right in others."""
    images = torch.zeros(200, 1, 21, 21)
    images[:, :, 3:18, 9:12] = 1.0
    out = turned(images, torch.Generator().manual_seed(1))
    x = torch.arange(21.0)

    def centre(rows: Tensor) -> Tensor:
        light = rows.sum((1, 2))
        return (light * x).sum(1) / light.sum(1)

    assert float((centre(out) - 10).abs().max()) < 1
    top = centre(out[:, :, :8]) - 10
    assert float((top > 0.3).float().mean()) > 0.25
    assert float((top < -0.3).float().mean()) > 0.25
    assert float(top.abs().max()) < 5
    assert out.sum((1, 2, 3)).mean().item() == pytest.approx(45, rel=0.1)
