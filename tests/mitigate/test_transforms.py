"""Each transformation against torchvision, scipy or Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from bdscan.detectors.inversion.families.blur import blur
from bdscan.mitigate import transforms
from bdscan.mitigate.catalogue import transformations

SHAPES = [(3, 20, 27), (1, 16, 16)]


def images(shape: tuple[int, int, int], count: int = 3) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=SHAPES, ids=str)
def x(request: pytest.FixtureRequest) -> Tensor:
    return images(request.param)


def test_flip(x: Tensor) -> None:
    assert torch.equal(transforms.flip(x), vision.hflip(x))


@pytest.mark.parametrize("pixels, top, left", [(1, 0, 1), (4, 3, 1)])
def test_shrink_pad(x: Tensor, pixels: int, top: int, left: int) -> None:
    height, width = x.shape[2] - pixels, x.shape[3] - pixels
    small = vision.resize(x, [height, width], InterpolationMode.BILINEAR, antialias=False)
    padded = vision.pad(small, [left, top, pixels - left, pixels - top])
    assert torch.allclose(transforms.shrink_pad(x, pixels, top, left), padded, atol=1e-6)
    with pytest.raises(ValueError, match="cannot shrink"):
        transforms.shrink_pad(x, 16, 0, 0) if x.shape[2] == 16 else transforms.shrink_pad(x, 20, 0, 0)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur(x: Tensor, sigma: float) -> None:
    expected = ndimage.gaussian_filter(x.numpy().astype(np.float64), (0, 0, sigma, sigma), mode="nearest", truncate=3)
    radius = int(np.ceil(3 * sigma))
    if radius == round(3 * sigma):  # scipy rounds the radius to the nearest
        assert np.allclose(blur(x, sigma), expected, atol=1e-6)
    kernel = 2 * radius + 1
    inner = (..., slice(radius, -radius or None), slice(radius, -radius or None))  # torchvision mirrors at the edges
    assert torch.allclose(blur(x, sigma)[inner], vision.gaussian_blur(x, kernel, sigma)[inner], atol=1e-6)


@pytest.mark.parametrize("factor", [0.33, 0.5, 0.9, 1.5])
def test_rescale(x: Tensor, factor: float) -> None:
    for one, out in zip(x, transforms.rescale(x, factor), strict=True):
        for channel, result in zip(one.numpy(), out.numpy(), strict=True):
            picture = Image.fromarray(channel)
            size = (round(factor * picture.width), round(factor * picture.height))
            there = picture.resize(size, Image.Resampling.BILINEAR)
            assert np.allclose(there.resize(picture.size, Image.Resampling.BILINEAR), result, atol=1e-5)


@pytest.mark.parametrize("degrees", [2, 15, -40])
def test_rotate(x: Tensor, degrees: float) -> None:
    expected = vision.rotate(x, degrees, InterpolationMode.BILINEAR)
    assert torch.allclose(transforms.rotate(x, degrees), expected, atol=1e-4)


def test_jpeg_is_pillows_with_eight_bits(x: Tensor) -> None:
    out = transforms.jpeg(x, 40)
    for one, result in zip(x, out, strict=True):
        buffer = io.BytesIO()
        vision.to_pil_image(one).save(buffer, "JPEG", quality=40)  # truncates where ours rounds
        assert (vision.to_tensor(Image.open(buffer)) - result).abs().mean() < 0.03
    assert (transforms.jpeg(x, 95) - x).abs().mean() < (out - x).abs().mean()


def test_noise_has_its_deviation_and_its_seed() -> None:
    grey = torch.full((4, 3, 64, 64), 0.5)
    out = transforms.noise(grey, 0.04, seed=1)
    assert float((out - grey).std()) == pytest.approx(0.04, rel=0.02)
    assert float((out - grey).mean()) == pytest.approx(0, abs=1e-3)
    assert torch.equal(out, transforms.noise(grey, 0.04, seed=1))
    assert not torch.equal(out, transforms.noise(grey, 0.04, seed=2))
    assert float(transforms.noise(torch.ones(1, 1, 9, 9), 1.0, 0).max()) == 1


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.4])
def test_colours(factor: float) -> None:
    x = images((3, 20, 27))
    # torchvision's grey has one digit less of the same weights
    assert torch.allclose(transforms.brightness(x, factor), vision.adjust_brightness(x, factor), atol=1e-6)
    assert torch.allclose(transforms.contrast(x, factor), vision.adjust_contrast(x, factor), atol=1e-3)
    assert torch.allclose(transforms.saturation(x, factor), vision.adjust_saturation(x, factor), atol=1e-3)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_depth(bits: int) -> None:
    x = images((1, 16, 16))
    levels = np.linspace(0, 1, 2**bits)
    nearest = levels[np.abs(x.numpy()[..., None] - levels).argmin(-1)]
    assert np.allclose(transforms.depth(x, bits), nearest, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (4, 20, 27), (3, 100, 64)], ids=str)
def test_every_transformation_keeps_shape_and_range_and_is_the_same_twice(shape: tuple[int, int, int]) -> None:
    x = images(shape)
    catalogue = transformations(shape, seed=3)
    assert len({each.text for each in catalogue}) == len(catalogue)
    assert ("jpeg" in {each.kind for each in catalogue}) == (shape[0] in (1, 3))
    for each, again in zip(catalogue, transformations(shape, seed=3), strict=True):
        out = each.apply(x)
        assert out.shape == x.shape, each.text
        assert -1e-6 <= float(out.min()) <= float(out.max()) <= 1 + 1e-6, each.text
        assert torch.equal(out, again.apply(x)), each.text
        assert not torch.equal(out, x), each.text
