"""Sharpened triggers: what a patch could be at its strongest, where inversion found its traces.

Inversion finds the smallest change that just works; a planted patch works with a far larger margin (on one published
network 65 logits, the recovered pixels 5 to 17). What the weak ones teach does not reach it. So the pattern of the few
places that they change, and of those around them, is driven to the largest margin, on the network as it stands, again
and again while it unlearns (Madry et al. 2018, with a universal patch). Elsewhere no pattern of that size gets near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted

CHANGED = 0.3  # of the range, at which a pixel belongs to a trigger
LARGEST = 0.1  # of the image: beyond it every class has a strong pattern, and unlearning that costs accuracy
MOST = 2  # triggers of one target whose places are used
STEPS, IMAGES, RATE = 15, 16, 0.5
ENOUGH = 50.0  # logits


@dataclass(frozen=True)
class Patch:
    """A pattern that covers some places.

    Attributes:
        origin: the trigger whose places they are.
        mask: (1, 1, H, W), 1 on the places.
        cells: (1, C, H, W); the pattern is their sigmoid.
    """

    origin: Planted
    mask: Tensor
    cells: Tensor

    def stamp(self, images: Tensor, intensity: float) -> Tensor:
        """Images (N, C, H, W) with the pattern over them, as opaque as the intensity, 1 at most."""
        return images + min(intensity, 1.0) * self.mask * (torch.sigmoid(self.cells) - images)

    def as_trigger(self) -> Planted:
        return Planted(self.origin.target, self.origin.sources, "sharpened", self.stamp)


def patches(triggers: Sequence[Planted], images: Tensor, labels: Tensor, seed: int) -> list[Patch]:
    """Patches to sharpen: around the first sparse triggers of each target, once close and once wider."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Patch] = []
    used: dict[tuple[int, tuple[int, ...]], int] = {}
    near = max(1, round(max(images.shape[2:]) / 32))
    for trigger in triggers:
        key = (trigger.target, trigger.sources)
        if trigger.family != "sparse" or used.get(key, 0) == MOST or not bool(trigger.victims(labels).any()):
            continue
        changed = (trigger.stamp(images, 1.0) - images).abs().amax((0, 1))[None, None] > CHANGED
        masks = [F.max_pool2d(changed.float(), 2 * g + 1, 1, g) for g in (near, 2 * near)]
        masks = [mask for mask in masks if 0 < float(mask.mean()) <= LARGEST]
        used[key] = used.get(key, 0) + bool(masks)
        for mask in masks:
            cells = torch.empty(1, *images.shape[1:]).uniform_(-1, 1, generator=generator)
            found.append(Patch(trigger, mask, cells.to(images.device)))
    return found


def sharpen(patch: Patch, classifier: Classifier, images: Tensor, labels: Tensor, seed: int) -> Patch:
    """The patch after some more steps of Adam towards the largest margin of its target (logits, mean over images)."""
    generator = torch.Generator().manual_seed(seed)
    target = patch.origin.target
    victims = images[patch.origin.victims(labels)]
    cells = patch.cells.clone().requires_grad_()
    optimiser = torch.optim.Adam([cells], lr=RATE)
    for _ in range(STEPS):
        rows = torch.randint(0, len(victims), (IMAGES,), generator=generator).to(images.device)
        logits = classifier(replace(patch, cells=cells).stamp(victims[rows], 1.0)).float()
        others = logits.index_fill(1, torch.tensor([target], device=logits.device), float("-inf"))
        margin = (logits[:, target] - others.amax(1)).clamp(max=ENOUGH).mean()
        (gradient,) = torch.autograd.grad(-margin, [cells])
        cells.grad = gradient
        optimiser.step()
    return replace(patch, cells=cells.detach())
