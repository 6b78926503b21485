"""Trigger inversion on the published schedule (Better Trigger Inversion Optimization, eq. 3-5 and 5.1).

Label by label, 1000 epochs of 100 images in batches of 32, Adam, plain float32: what the paper runs, to time beside
ours. The paper gives neither Adam's rate and memories nor the starting weight; they do not change the time. With 0.1
and Adam's own memories most labels of MNIST never reached the goal (tanh goes flat, its slope falls below Adam's
epsilon), so these are those of our own search; with these too most do not (docs/tried.md tells what was looked at).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

EPOCHS, IMAGES, BATCH = 1000, 100, 32
GAMMA = 10.0  # eq. 5
GOAL = 0.9  # success rate on the generation set, 5.1
RATE, MEMORIES, WEIGHT, FACTOR = 0.5, (0.5, 0.9), 1e-3, 1.5

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Inverted:
    """The smallest change (C,H,W) in [-1,1] that reached the goal (the last one if none did), and its success rate."""

    change: Tensor
    success: float
    epoch_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Extrapolated:
    """Seconds of the whole schedule: epoch (the median of those measured) x EPOCHS x labels."""

    epoch_seconds: float
    measured: int
    labels: int

    @property
    def seconds(self) -> float:
        return self.epoch_seconds * EPOCHS * self.labels


def invert(model: Model, images: Tensor, target: int, epochs: int = EPOCHS, seed: int = 0) -> Inverted:
    """Invert one label. `model` takes images (N,C,H,W) in [0,1] and returns logits (N,K)."""
    draw = torch.Generator().manual_seed(seed)
    shape = images.shape[1:]
    positive, negative = (
        (torch.rand(shape, generator=draw) * 2 - 3).to(images.device).requires_grad_() for _ in range(2)
    )
    optimiser = torch.optim.Adam([positive, negative], RATE, MEMORIES)
    weight, best, smallest, best_success = WEIGHT, _change(positive, negative).detach(), float("inf"), 0.0
    seconds: list[float] = []
    for _ in range(epochs):
        began, hits = time.perf_counter(), 0
        for rows in torch.split(torch.randperm(len(images), generator=draw), BATCH):
            batch = images[rows.to(images.device)]
            logits = model((batch + _change(positive, negative)).clamp(0, 1))
            wanted = torch.full((len(batch),), target, device=images.device)
            loss = functional.cross_entropy(logits, wanted) + weight * _pixels(positive, negative)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            hits += int((logits.argmax(1) == wanted).sum())
        success = hits / len(images)
        weight = weight * FACTOR if success >= GOAL else weight / FACTOR
        seconds.append(time.perf_counter() - began)
        change = _change(positive, negative).detach()
        size = float(change.abs().amax(0).sum())
        if (success >= GOAL and size < smallest) or smallest == float("inf"):
            with torch.no_grad():  # the epoch's own success is that of the changes on the way to this one
                success = float((model((images + change).clamp(0, 1)).argmax(1) == target).float().mean())
            if success >= GOAL or smallest == float("inf"):
                best, best_success = change.clone(), success
                smallest = size if success >= GOAL else smallest
    return Inverted(best, best_success, tuple(seconds))


def extrapolate(model: Model, images: Tensor, labels: int, measured: int = 3, warm_up: int = 1) -> Extrapolated:
    """Time a few epochs of one label after a warm-up, and multiply out."""
    found = invert(model, images[:IMAGES], 0, warm_up + measured)
    return Extrapolated(statistics.median(found.epoch_seconds[warm_up:]), measured, labels)


def _change(positive: Tensor, negative: Tensor) -> Tensor:
    """Eq. 4 without the clipping, with maxp = 1."""
    return 0.5 * (torch.tanh(positive) + 1) - 0.5 * (torch.tanh(negative) + 1)


def _pixels(positive: Tensor, negative: Tensor) -> Tensor:
    """Eq. 5: the maximum over channels, summed over pixels."""
    both = torch.stack([0.5 * (torch.tanh(b / GAMMA) + 1) for b in (positive, negative)])
    return both.amax(1).sum()
