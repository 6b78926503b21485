"""Out of focus: a Gaussian blur, as a look to search in and as an input transformation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def blur(images: Tensor, sigma: float) -> Tensor:
    """Images (N, C, H, W) under a Gaussian blur, cut off at three sigma, edges repeated."""
    radius = math.ceil(3 * sigma)
    at = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype)
    channels = images.shape[1]
    padded = functional.pad(images, (radius,) * 4, mode="replicate")
    across = functional.conv2d(padded, kernel.expand(channels, 1, 1, -1), groups=channels)
    return functional.conv2d(across, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)
