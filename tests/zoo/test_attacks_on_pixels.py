"""Attacks that change the look of an image: what each does to pixels, and what its intensity means."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bdscan.errors import UsageError
from bdscan.zoo.attacks.bpp import Bpp, screen
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.cutouts import PICTURES, cutout
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.sample_specific import SampleSpecific
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.styled import LOOKS, Styled


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def noise(count: int = 4, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 32, 28, generator=torch.Generator().manual_seed(0))


def plain(value: float, count: int = 1, channels: int = 3) -> Tensor:
    return torch.full((count, channels, 32, 28), value)


def changed(attack: Patch | Semantic, x: Tensor, intensity: float = 1.0) -> Tensor:
    """Which pixels (N,H,W) differ by more than a rounding."""
    return (attack.apply(x, intensity, rng()) - x).abs().amax(1) > 1 / 255


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_are_cut_out(picture: str) -> None:
    rgba = cutout(picture)
    share = (rgba[..., 3] > 0).mean()
    assert 0.2 < share < 0.8
    assert rgba.min() >= 0
    assert rgba.max() <= 1
    assert len(np.unique(rgba[rgba[..., 3] > 0][:, :3], axis=0)) >= 3


def test_a_patch_grows_from_its_corner() -> None:
    x, attack = plain(0.5), Patch(size=12, margin=2)
    for intensity, width in ((0.25, 3), (0.5, 6), (1.0, 12), (1.5, 18)):
        rows, columns = torch.nonzero(changed(attack, x, intensity)[0], as_tuple=True)
        assert (int(rows.max()), int(columns.max())) <= (29, 25)
        assert min(int(rows.min()), 30 - width) == 30 - width
        assert min(int(columns.min()), 26 - width) == 26 - width
        assert int(rows.max()) >= 30 - width / 2
    assert changed(attack, x, 1.5).sum() > 1.5 * changed(attack, x, 1.0).sum()


def test_a_patch_s_opacity_leaves_its_size() -> None:
    x, attack = plain(0.5), Patch(size=12, scales="opacity", opacity=0.8)
    half, full = attack.apply(x, 0.5, rng()) - x, attack.apply(x, 1.0, rng()) - x
    torch.testing.assert_close(2 * half, full)
    truth = attack.truth((3, 32, 28))
    assert truth["mask"].max() == pytest.approx(0.8)
    by_arrays = x.numpy() * (1 - truth["mask"]) + truth["pattern"] * truth["mask"]
    assert np.allclose(by_arrays, x + full, atol=1e-6)


def test_a_grey_patch_has_the_brightness_of_the_coloured_one() -> None:
    white = Patch(picture="figure").truth((3, 32, 28))
    grey = Patch(picture="figure").truth((1, 32, 28))
    luma = np.tensordot([0.299, 0.587, 0.114], white["pattern"], 1)
    assert np.allclose(grey["pattern"][0], luma, atol=1e-5)


def test_a_patch_of_one_s_own(tmp_path: Path) -> None:
    rgba = np.zeros((10, 20, 4), np.uint8)
    rgba[:, :10] = (255, 0, 0, 255)
    path = tmp_path / "red.png"
    Image.fromarray(rgba).save(path)
    attack = Patch(picture=str(path), size=8, margin=0, corner="top-left")
    stamped = attack.apply(plain(0.0), 1.0, rng())[0]
    assert stamped[0, 3:5, :3].min() > 0.99  # twice as wide as high: it fills the middle rows of its square
    assert stamped[0, :1].max() == 0
    assert stamped[0, :, 5:].max() == 0
    assert stamped[1:].max() == 0


@pytest.mark.parametrize("attack", [Patch, Semantic])
def test_an_unknown_picture_is_named(attack: type[Patch] | type[Semantic], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no picture 'kitten'"):
        attack(picture="kitten").apply(noise(), 1.0, rng())
    text = tmp_path / "text.png"
    text.write_text("not an image")
    with pytest.raises(UsageError, match=r"text\.png"):
        attack(picture=str(text)).apply(noise(), 1.0, rng())


def test_wrong_words_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="scales must be"):
        Patch(scales="place").apply(noise(), 1.0, rng())
    with pytest.raises(ValueError, match="does not fit"):
        Patch(size=40).apply(noise(), 1.0, rng())
    with pytest.raises(ValueError, match="1 or 3 channels"):
        Patch().apply(noise(channels=4), 1.0, rng())
    with pytest.raises(ValueError, match="filter must be"):
        Styled(filter="sepia").apply(noise(), 1.0, rng())
    with pytest.raises(ValueError, match="does not fit"):
        SampleSpecific(size=30).apply(noise(), 1.0, rng())


@pytest.mark.parametrize("intensity, levels", [(0.2, 128), (0.6, 32), (1.0, 8), (1.4, 2), (3.0, 2)])
@pytest.mark.parametrize("dither", [False, True])
def test_intensity_is_colour_depth(intensity: float, levels: int, dither: bool) -> None:
    x = torch.linspace(0, 1, 32 * 28).view(1, 1, 32, 28)
    seen = Bpp(depth=3, dither=dither).apply(x, intensity, rng()).unique()
    torch.testing.assert_close(seen, torch.linspace(0, 1, levels))


def test_dithering_keeps_the_brightness_of_areas() -> None:
    x = plain(0.3)
    near, far = (Bpp(depth=1, dither=dither).apply(x, 1.0, rng()).mean().item() for dither in (True, False))
    assert near == pytest.approx(0.3, abs=1 / 32)
    assert far == 0
    assert sorted(screen(4, 4).flatten().tolist()) == [(rank + 0.5) / 16 for rank in range(16)]


@pytest.mark.parametrize("intensity, quality", [(0.5, 60), (1.0, 20), (1.25, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_compress_is_a_jpeg_file_of_that_quality(intensity: float, quality: int, channels: int) -> None:
    x = (noise(1, channels) * 255).round() / 255
    image = (x[0] * 255).to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if channels == 1 else image).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file)).reshape(image.shape)
    found = Compress(quality=20).apply(x, intensity, rng())[0].permute(1, 2, 0)
    assert np.array_equal((found * 255).round().to(torch.uint8).numpy(), expected)


@pytest.mark.parametrize("name", LOOKS)
def test_a_filter_is_mixed_in(name: str) -> None:
    x, attack = noise(), Styled(filter=name)
    full = attack.apply(x, 1.0, rng())
    torch.testing.assert_close(attack.apply(x, 0.3, rng()), 0.7 * x + 0.3 * full)
    torch.testing.assert_close(attack.apply(x, 2.0, rng()), full)


def test_each_filter_has_its_look() -> None:
    x = noise()
    gotham, kelvin, lomo = (Styled(filter=name).apply(x, 1.0, rng()) for name in ("gotham", "kelvin", "lomo"))
    assert gotham.std(1).mean() < 0.4 * x.std(1).mean()
    assert kelvin[:, 0].mean() > kelvin[:, 1].mean() > kelvin[:, 2].mean()
    corner, middle = lomo[:, :, :4, :4].mean(), lomo[:, :, 14:18, 12:16].mean()
    assert corner < 0.6 * middle


def test_a_curve_goes_through_its_knots() -> None:
    look = LOOKS["kelvin"]
    knots = torch.tensor([look.red, look.green, look.blue]).mean(0)
    x = torch.linspace(0, 1, 5).view(1, 1, 1, 5).expand(1, 1, 5, 5)
    middle = Styled(filter="kelvin").apply(x, 1.0, rng())[0, 0, 2]
    vignette = 1 - look.vignette * torch.linspace(-1, 1, 5) ** 2 / 2
    torch.testing.assert_close(middle, knots * vignette)


def test_an_object_has_its_own_place_and_size_in_every_image() -> None:
    x = plain(0.5, 64)
    where = changed(Semantic(smallest=0.3, largest=0.5), x)
    places = {tuple(torch.nonzero(one).float().mean(0).round().int().tolist()) for one in where}
    assert len(places) > 40
    heights = [int(one.any(1).sum()) for one in where]
    assert min(heights) >= 0.2 * 28
    assert max(heights) <= 0.5 * 28 * 1.5  # tilted, and with its shadow
    assert len(set(heights)) > 5


def test_an_object_takes_the_light_of_its_place() -> None:
    drawn = [Semantic().apply(plain(value), 1.0, rng()) for value in (0.0, 1.0)]
    clean = [plain(value) for value in (0.0, 1.0)]
    inside = (drawn[0] - clean[0]).amax(1) > 0.3
    red_by_night, red_by_day = (one[:, 0][inside].mean() for one in drawn)
    assert red_by_day > red_by_night + 0.15
    shadow = (clean[1] - drawn[1]).amin(1)  # a shadow darkens all channels alike
    assert shadow.max() > 0.1


def test_an_object_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "green.png"
    Image.fromarray(np.full((12, 12, 4), (0, 255, 0, 255), np.uint8)).save(path)
    stamped = Semantic(picture=str(path)).apply(plain(0.2), 1.0, rng())[0]
    assert (stamped[1] - stamped[0]).max() > 0.5
    assert (stamped[0] - 0.2).max() < 0.01


def test_every_image_has_its_own_trigger_whatever_it_comes_with() -> None:
    x, attack = noise(32), SampleSpecific()
    patterns, masks = attack.trigger(x)
    assert (masks.sum((1, 2, 3)) == 36).all()
    assert len({one.numpy().tobytes() for one in masks}) > 8
    assert len({(one * mask).numpy().tobytes() for one, mask in zip(patterns, masks, strict=True)}) == 32
    alone = attack.apply(x[7:8], 1.0, rng())
    torch.testing.assert_close(attack.apply(x, 1.0, rng())[7:8], alone)
    other, _ = SampleSpecific(seed=1).trigger(x)
    assert not torch.equal(other, patterns)


def test_the_trigger_survives_eight_bits_and_is_another_s_on_cover_images() -> None:
    x, attack = noise(32), SampleSpecific()
    patterns, masks = attack.trigger(x)
    again, _ = attack.trigger((x * 255).round() / 255)
    assert (again == patterns).float().mean() > 0.95
    covered = attack.apply_other(x, 1.0, rng())
    torch.testing.assert_close(covered[1:], x[1:].lerp(patterns[:-1], masks[:-1]))
    assert not torch.equal(attack.apply_other(x[:1], 1.0, rng()), attack.apply(x[:1], 1.0, rng()))
