"""Detectors of triggered inputs at run time, as P0 (figure 14) measures them against trigger intensity. Zoo only.

Both give one number an image, larger for images that look triggered, from predictions alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Predict = Callable[[Tensor], Tensor]  # images (N,C,H,W) in [0,1] -> logits (N,K)
OVERLAYS = 20
SCALES = tuple(range(2, 12))  # Scale-Up's own


@torch.no_grad()
def strip(predict: Predict, images: Tensor, clean: Tensor, seed: int = 0) -> Tensor:
    """STRIP (Gao et al. 2019): minus the mean entropy, in nats, of an image mixed half and half with clean ones (N,).

    A trigger survives the mixing, so that predictions stay sure.
    """
    picks = torch.randint(0, len(clean), (OVERLAYS, len(images)), generator=torch.Generator().manual_seed(seed))
    total = torch.zeros(len(images))
    for pick in picks:
        shares = predict(0.5 * images + 0.5 * clean[pick]).float().softmax(1)
        total -= (shares * shares.clamp(min=1e-12).log()).sum(1)
    return -total / OVERLAYS


@torch.no_grad()
def scale_up(predict: Predict, images: Tensor) -> Tensor:
    """Scale-Up (Guo et al. 2023): share of the scales at which an amplified image keeps its prediction (N,)."""
    own = predict(images).argmax(1)
    same = [predict((images * scale).clamp(0, 1)).argmax(1) == own for scale in SCALES]
    return torch.stack(same).float().mean(0)
