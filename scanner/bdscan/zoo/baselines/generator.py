"""A small convolutional network from images to changes of them, as GangSweep and FeatureRE train one for each label."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdscan.detectors.inversion.families.clip import clip

WIDTH = 16


class Generator(nn.Module):
    """An encoder and a decoder with one shortcut (a U-Net of two levels), and a part that is the same on every image.

    The last is for triggers that have a fixed place: a convolution cannot tell one place from another, and the wide
    networks that learn to need more training than there is time for. The change is zero at the start.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels = shape[0]
        self.fine = nn.Conv2d(channels, WIDTH, 3, 1, 1)
        self.down = nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, 1)
        self.deep = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 3, 1, 1)
        self.up = nn.Conv2d(2 * WIDTH, WIDTH, 3, 1, 1)
        self.last = nn.Conv2d(2 * WIDTH, channels, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.fixed = nn.Parameter(torch.zeros(shape))

    def forward(self, images: Tensor) -> Tensor:
        """The change (N,C,H,W) in [-1,1] of images (N,C,H,W) in [0,1]."""
        fine = functional.relu(self.fine(images))
        deep = functional.relu(self.deep(functional.relu(self.down(fine))))
        up = functional.interpolate(functional.relu(self.up(deep)), size=images.shape[2:])
        return torch.tanh(self.last(torch.cat([fine, up], 1)) + self.fixed)

    def changed(self, images: Tensor) -> Tensor:
        """The images with their change, clipped to [0,1]."""
        return clip(images + self(images))

    def stamp(self, images: Tensor) -> Tensor:
        """The same without gradients, in batches."""
        with torch.no_grad():
            return torch.cat([self.changed(part) for part in torch.split(images, 250)])


def seeded(shape: tuple[int, int, int], seed: int, device: torch.device) -> Generator:
    """A generator whose start is this seed's; torch's own random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(shape).to(device)
