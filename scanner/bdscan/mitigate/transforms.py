"""Input transformations: pure functions on images (N, C, H, W) in [0, 1], same shape and range out.

Strengths after P3 (5.1: flip, ShrinkPad; 5.2: noise, colour shifts), P2 (figure 4: blur, JPEG, noise) and P1 (appendix
I: rotation, rescaling).
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def flip(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(3)


def shrink_pad(images: Tensor, pixels: int, top: int, left: int) -> Tensor:
    """Bilinearly shrunk by `pixels` in both directions, black around it; `top` and `left` (0..pixels) say where."""
    height, width = images.shape[2:]
    if not 0 < pixels < min(height, width):
        raise ValueError(f"images of {height}x{width} cannot shrink by {pixels} pixels")
    small = functional.interpolate(images, (height - pixels, width - pixels), mode="bilinear", align_corners=False)
    return functional.pad(small, (left, pixels - left, top, pixels - top))


def rescale(images: Tensor, factor: float) -> Tensor:
    """Scaled by `factor` and back, bilinearly and with antialiasing."""
    height, width = images.shape[2:]
    size = (max(1, round(factor * height)), max(1, round(factor * width)))
    other = functional.interpolate(images, size, mode="bilinear", antialias=True)
    return functional.interpolate(other, (height, width), mode="bilinear", antialias=True)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotated anticlockwise about the centre, bilinearly, black outside."""
    height, width = images.shape[2:]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    theta = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = functional.affine_grid(theta.to(images)[None], [1, 1, height, width], align_corners=False)
    return functional.grid_sample(images, grid.expand(len(images), -1, -1, -1), align_corners=False)


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Through a JPEG file of this quality (1..95). One or three channels."""
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    out = []
    for picture in pixels:
        buffer = io.BytesIO()
        Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(buffer)).reshape(picture.shape))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).to(images) / 255


def noise(images: Tensor, deviation: float, seed: int) -> Tensor:
    """Gaussian noise of this standard deviation, clipped to the range; the same for the same seed and shape."""
    generator = torch.Generator().manual_seed(seed)
    return (images + deviation * torch.randn(images.shape, generator=generator).to(images)).clamp(0, 1)


def brightness(images: Tensor, factor: float) -> Tensor:
    return (images * factor).clamp(0, 1)


def contrast(images: Tensor, factor: float) -> Tensor:
    """Distances from the image's mean grey times `factor`."""
    return _blended(images, _grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: float) -> Tensor:
    """Distances from each pixel's grey times `factor`; three channels."""
    return _blended(images, _grey(images), factor)


def depth(images: Tensor, bits: int) -> Tensor:
    """Rounded to 2 ** bits values a channel."""
    levels = float(2**bits - 1)
    return (images * levels).round() / levels


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * torch.tensor(LUMA).to(images).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _blended(images: Tensor, other: Tensor, factor: float) -> Tensor:
    return (factor * images + (1 - factor) * other).clamp(0, 1)
