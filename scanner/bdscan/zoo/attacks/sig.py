"""SIG (Barni et al. 2019): a sinusoidal signal added to the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.zoo.attacks.interface import Attack


@dataclass(frozen=True, kw_only=True)
class Sig(Attack):
    """Adds amplitude * sin(2 pi j frequency / width) in every row j-th column. Intensity scales the amplitude.

    `amplitude` is in units of [0,1]; `frequency` counts waves over the width.
    """

    amplitude: float = 40 / 255
    frequency: float = 6.0

    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        delta = torch.from_numpy(self.truth((images.shape[1], images.shape[2], images.shape[3]))["delta"])
        return (images + intensity * delta).clamp(0, 1)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        wave = self.amplitude * np.sin(2 * np.pi * self.frequency * np.arange(shape[2]) / shape[2])
        return {"delta": np.broadcast_to(wave.astype(np.float32), shape).copy()}
