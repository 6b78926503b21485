"""Sharpened triggers: what a trigger could be at its strongest, where inversion found its traces.

Inversion finds the smallest change that just works; a planted trigger works with a far larger margin (of a patch on one
published network 65 logits, the recovered pixels 5 to 17). What the weak ones teach does not reach it. So it is driven
to the largest margin within bounds that its traces set, on the network as it stands, again and again while that
unlearns (Madry et al. 2018, with universal triggers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted

STEPS, IMAGES = 15, 16
ENOUGH = 50.0  # logits
MOST = 2  # triggers of one family and target that are driven
LARGER = 2.0  # at most, than the recovered one: warps and patterns
SELDOM = 4  # the same: four times as many cost as much accuracy again as they take from the trigger


@dataclass(frozen=True)
class Sharp:
    """A trigger that can be driven.

    Attributes:
        origin: the trigger whose traces bound it.
        values: what is driven; the shape is the kind's own.
        draw: (values, images (N, C, H, W) in [0, 1], intensity) -> stamped images.
        bounded: values -> the nearest ones that are allowed.
        rate: Adam's, of learning.
        seldom: while a network unlearns it is driven every so many times that patches are.
    """

    origin: Planted
    values: Tensor
    draw: Callable[[Tensor, Tensor, float], Tensor]
    bounded: Callable[[Tensor], Tensor]
    rate: float
    seldom: int = 1

    def stamp(self, images: Tensor, intensity: float) -> Tensor:
        return self.draw(self.values, images, intensity)

    def as_trigger(self) -> Planted:
        return Planted(self.origin.target, self.origin.sources, "sharpened", self.stamp)


def first(triggers: Sequence[Planted], family: str, labels: Tensor, most: int = MOST) -> Iterator[Planted]:
    """The first `most` triggers of a family of each target (and sources) that has images among `labels` (N,)."""
    used: dict[tuple[int, tuple[int, ...]], int] = {}
    for trigger in triggers:
        key = (trigger.target, trigger.sources)
        if trigger.family == family and used.get(key, 0) < most and bool(trigger.victims(labels).any()):
            used[key] = used.get(key, 0) + 1
            yield trigger


def at_most(most: Tensor, values: Tensor) -> Tensor:
    """No larger than `most` in L2 norm."""
    bounded: Tensor = values * (most / values.norm().clamp(min=1e-9)).clamp(max=1.0)
    return bounded


def elsewhere(sharp: Sharp, seed: int) -> Sharp:
    """Moved by as much as it is large, at random: a search that proves a repair must not begin where training did."""
    noise = torch.randn(sharp.values.shape, generator=torch.Generator().manual_seed(seed)).to(sharp.values.device)
    size = sharp.values.square().mean().sqrt()
    return replace(sharp, values=sharp.bounded(sharp.values + size * noise))


def sharpen(sharp: Sharp, classifier: Classifier, images: Tensor, labels: Tensor, seed: int) -> Sharp:
    """After some more steps of Adam towards the largest margin of its target (logits, mean over images)."""
    generator = torch.Generator().manual_seed(seed)
    target = sharp.origin.target
    victims = images[sharp.origin.victims(labels)]
    values = sharp.values.clone().requires_grad_()
    optimiser = torch.optim.Adam([values], lr=sharp.rate)
    for _ in range(STEPS):
        rows = torch.randint(0, len(victims), (IMAGES,), generator=generator).to(images.device)
        logits = classifier(sharp.draw(values, victims[rows], 1.0)).float()
        others = logits.index_fill(1, torch.tensor([target], device=logits.device), float("-inf"))
        margin = (logits[:, target] - others.amax(1)).clamp(max=ENOUGH).mean()
        (gradient,) = torch.autograd.grad(-margin, [values])
        values.grad = gradient
        optimiser.step()
        with torch.no_grad():
            values.copy_(sharp.bounded(values))
    return replace(sharp, values=values.detach())
