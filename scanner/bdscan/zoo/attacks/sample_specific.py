"""Input-aware (Nguyen and Tran 2020) without its trained generator: every image has a trigger of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bdscan.zoo.attacks.interface import Attack, Case

GRID = 8  # the trigger is drawn from the image at this many cells a side: what compression or noise do not change
HIDDEN = 12
CELLS = 4  # cells of the square a side


@dataclass(frozen=True, kw_only=True)
class SampleSpecific(Attack):
    """A square of `size` pixels; a fixed random network, drawn from `seed`, reads its place and colours from the image.

    `cover` times the poison rate, images carry another image's trigger and keep their label, so that only an image's
    own trigger fires. The paper trains the generator along with the classifier, for triggers that differ as much as
    they can; ours is fixed, so this is data poisoning alone. Intensity is the opacity, up to 1.
    """

    size: int = 6
    seed: int = 0
    cover: float = 1.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        return self._stamp(images, images, intensity)

    def apply_other(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """Each image with the trigger of the next one; a single image with that of its own upside down."""
        return self._stamp(images, images.roll(1, 0) if len(images) > 1 else images.flip(2), intensity)

    def cases(self) -> tuple[Case, ...]:
        attack = Case(self.apply, self.target)
        return (attack, Case(self.apply_other, None, weight=self.cover)) if self.cover else (attack,)

    def _stamp(self, images: Tensor, owners: Tensor, intensity: float) -> Tensor:
        pattern, mask = self.trigger(owners)
        return images.lerp(pattern, mask * min(intensity, 1.0))

    def trigger(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The triggers of images (N,C,H,W): patterns (N,C,H,W) and masks (N,1,H,W), 1 inside the square."""
        count, _, height, width = images.shape
        if self.size > min(height, width):
            raise ValueError(f"a square of {self.size} does not fit in {height}x{width}")
        heat, colours = self._read(images)
        down, right = heat.flatten(1).argmax(1) // GRID, heat.flatten(1).argmax(1) % GRID
        top, left = down * (height - self.size) // (GRID - 1), right * (width - self.size) // (GRID - 1)
        rows = torch.arange(height)[None] - top[:, None]
        columns = torch.arange(width)[None] - left[:, None]
        inside = ((rows >= 0) & (rows < self.size))[:, :, None] & ((columns >= 0) & (columns < self.size))[:, None]
        cell_down, cell_right = (at.clamp(0, self.size - 1) * CELLS // self.size for at in (rows, columns))
        each = torch.arange(count)[:, None, None]
        pattern = colours[each, :, cell_down[:, :, None], cell_right[:, None]].permute(0, 3, 1, 2)
        return pattern, inside[:, None].float()

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The random network: heat (N,GRID,GRID), whose hottest cell is the place, and colours (N,C,CELLS,CELLS)."""
        channels = images.shape[1]
        low = functional.adaptive_avg_pool2d(images, GRID)
        low = (low - low.mean((1, 2, 3), keepdim=True)) / low.std((1, 2, 3), keepdim=True).clamp(min=1e-3)
        draw = np.random.default_rng(self.seed)

        def layer(x: Tensor, wider: int) -> Tensor:
            weight = draw.standard_normal((wider, x.shape[1], 3, 3)) / np.sqrt(9 * x.shape[1])
            return functional.conv2d(functional.pad(x, (1, 1, 1, 1), "replicate"), torch.from_numpy(weight).float())

        hidden = torch.tanh(2 * layer(low, HIDDEN))
        heat = layer(hidden, 1)[:, 0]
        colours = functional.adaptive_avg_pool2d(layer(hidden, channels), CELLS)
        middle = colours.flatten(1).median(1).values[:, None, None, None]
        return heat, (colours > middle).float()
