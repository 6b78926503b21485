"""Patches to sharpen: the pattern of the few places that a sparse trigger changes, and of those around them.

Elsewhere no pattern of that size gets near.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.repair.planted import Planted
from bdscan.repair.sharpen import MOST, Sharp, first

CHANGED = 0.3  # of the range, at which a pixel belongs to a trigger
LARGEST = 0.1  # of the image: beyond it every class has a strong pattern, and unlearning that costs accuracy
RATE = 0.5


def patches(triggers: Sequence[Planted], images: Tensor, labels: Tensor, seed: int, most: int = MOST) -> list[Sharp]:
    """Patches around the first sparse triggers of each target, `most` of them, once close and once wider; of those
    beyond MOST wider only."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Sharp] = []
    places = {t: masks for t in triggers if t.family == "sparse" and (masks := _masks(t, images))}
    foremost = set(first(list(places), "sparse", labels))
    for trigger in first(list(places), "sparse", labels, most):
        for mask in places[trigger] if trigger in foremost else places[trigger][-1:]:
            cells = torch.empty(1, *images.shape[1:]).uniform_(-1, 1, generator=generator)
            found.append(Sharp(trigger, cells.to(images.device), functools.partial(_cover, mask), _any, RATE))
    return found


def _masks(trigger: Planted, images: Tensor) -> list[Tensor]:
    """The places (1, 1, H, W) that the trigger changes and those near them; none that are too many."""
    near = max(1, round(max(images.shape[2:]) / 32))
    changed = (trigger.stamp(images, 1.0) - images).abs().amax((0, 1))[None, None] > CHANGED
    masks = [F.max_pool2d(changed.float(), 2 * g + 1, 1, g) for g in (near, 2 * near)]
    return [mask for mask in masks if 0 < float(mask.mean()) <= LARGEST]


def _cover(mask: Tensor, cells: Tensor, images: Tensor, intensity: float) -> Tensor:
    """Images with the sigmoid of `cells` (1, C, H, W) over them where `mask` (1, 1, H, W) is 1, as opaque as the
    intensity, 1 at most."""
    return images + min(intensity, 1.0) * mask * (torch.sigmoid(cells) - images)


def _any(cells: Tensor) -> Tensor:
    return cells
