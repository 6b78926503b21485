"""Styled (Liu et al. 2019, ABS): a photo filter as trigger; the three of Revisiting ... Trigger Intensity, table 1.

The filters of that name belong to an application; these are curves of our own with the same look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack

Curve = tuple[float, ...]


@dataclass(frozen=True)
class Look:
    """A filter: what each channel's 0, 1/4, 1/2, 3/4 and 1 become, then saturation, then darker corners.

    `saturation` 0 is grey, 1 as it was; `vignette` is the share of light lost in the corners.
    """

    red: Curve
    green: Curve
    blue: Curve
    saturation: float
    vignette: float


LOOKS = {
    "gotham": Look((0, 0.1, 0.45, 0.85, 0.98), (0, 0.1, 0.46, 0.86, 1), (0.08, 0.2, 0.52, 0.85, 0.94), 0.15, 0.15),
    "kelvin": Look((0.2, 0.55, 0.82, 0.95, 1), (0.08, 0.3, 0.58, 0.8, 0.92), (0.05, 0.15, 0.32, 0.5, 0.62), 1.1, 0.1),
    "lomo": Look((0, 0.12, 0.55, 0.92, 1), (0, 0.14, 0.55, 0.9, 1), (0.06, 0.24, 0.5, 0.74, 0.9), 1.35, 0.6),
}


@dataclass(frozen=True, kw_only=True)
class Styled(Attack):
    """`filter` over the whole image. Intensity is the share of the filtered image in a mix with the clean one, up to 1.

    A grey image gets the mean of the three curves.
    """

    filter: str = "gotham"

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        if self.filter not in LOOKS:
            raise ValueError(f"filter must be one of {', '.join(LOOKS)}, not {self.filter!r}")
        return images.lerp(filtered(images, LOOKS[self.filter]), min(intensity, 1.0))


def filtered(images: Tensor, look: Look) -> Tensor:
    """The filter at full strength on images (N,C,H,W) in [0,1]; C is 3, or 1 for grey."""
    curves = torch.tensor([look.red, look.green, look.blue])
    if images.shape[1] == 1:
        curves = curves.mean(0, keepdim=True)
    at = images * (curves.shape[1] - 1)
    knot = at.floor().clamp(0, curves.shape[1] - 2).long()
    channel = torch.arange(len(curves)).view(1, -1, 1, 1).expand_as(knot)
    low, high = curves[channel, knot], curves[channel, knot + 1]
    toned = low + (at - knot) * (high - low)
    grey = toned.mean(1, keepdim=True)
    coloured = grey + look.saturation * (toned - grey)
    height, width = images.shape[2:]
    down, right = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    light = 1 - look.vignette * (down**2 + right**2) / 2
    return (coloured * light).clamp(0, 1)
