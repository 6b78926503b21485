"""A trigger that is moved, resized or recoloured is what a moved, resized or recoloured stamp would leave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bdscan.mitigate import vary


def square(left: int, top: int, side: int, colour: tuple[float, float, float] = (1.0, 1.0, 1.0)):
    def stamp(images: Tensor, intensity: float) -> Tensor:
        out = images.clone()
        part = out[:, :, top : top + side, left : left + side]
        part += intensity * (torch.tensor(colour).view(1, 3, 1, 1) - part)
        return out

    return stamp


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 24, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("right, down", [(0, 0), (3, -2), (-5, 4), (9, 0)])
def test_a_moved_patch_is_the_patch_at_another_place(images: Tensor, right: int, down: int) -> None:
    moved = vary.shifted(square(8, 9, 4), images, right, down)
    expected = square(8 + right, 9 + down, 4)(images, 1.0)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_what_leaves_the_image_is_gone(images: Tensor) -> None:
    assert torch.allclose(vary.shifted(square(8, 9, 4), images, 12, 0), images, atol=1e-6)


def test_a_change_without_a_place_does_not_care(images: Tensor) -> None:
    def darker(x: Tensor, intensity: float) -> Tensor:
        return x * (1 - 0.5 * intensity)

    assert torch.allclose(vary.shifted(darker, images, 3, 2)[:, :, 2:, 3:], images[:, :, 2:, 3:] / 2, atol=1e-5)


def test_size_scales_the_area_about_the_triggers_own_centre(images: Tensor) -> None:
    stamp, black = square(7, 8, 6), torch.zeros_like(images)
    assert vary.centre(stamp, black) == pytest.approx((9.5, 10.5))
    about = vary.centre(stamp, black)
    assert torch.allclose(vary.resized(stamp, images, 1.0, about), stamp(images, 1.0), atol=1e-5)
    for factor in (0.5, 2.0):
        resized = vary.resized(stamp, black, factor, about)
        assert float(resized[0, 0].sum()) == pytest.approx(36 * factor**2, rel=0.05)
        assert float(resized[0, 0, 10:12, 9:11].min()) == pytest.approx(1)
    assert vary.centre(lambda x, a: x, images) == (9.5, 11.5)


def test_colours(images: Tensor) -> None:
    black = torch.zeros_like(images)
    red = square(2, 2, 3, (0.9, 0.0, 0.3))
    found = {name: vary.recoloured(red, black, change)[0, :, 3, 3] for name, change in vary.colours(3).items()}
    assert torch.allclose(found["red as green as blue"], torch.tensor([0.3, 0.9, 0.0]))
    assert torch.allclose(found["red as blue as green"], torch.tensor([0.0, 0.3, 0.9]))
    assert torch.allclose(found["grey"], torch.tensor([0.4, 0.4, 0.4]))
    assert not found["inverted"].any()
    assert list(vary.colours(1)) == ["inverted"]
