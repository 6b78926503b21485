"""The one inversion loop: many triggers at once, each for its own target, over any trigger family (P1, eq. 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.inversion.families.interface import Family, Parameters
from bdscan.intake.classifier import batch_size

UP, DOWN = 1.5, 1.5  # factors on the penalty weight


@dataclass(frozen=True)
class Task:
    """L inversions: for each a target class and the images it is searched on.

    Attributes:
        targets: int64 (L,).
        pool: images (N, C, H, W) in [0, 1], shared by all.
        allowed: bool (L, N), which images each inversion may use.
    """

    targets: Tensor
    pool: Tensor
    allowed: Tensor

    def only(self, keep: Tensor) -> Task:
        return Task(self.targets[keep], self.pool, self.allowed[keep])


@dataclass(frozen=True)
class State:
    """Where L inversions stand; a later rung goes on from here.

    Attributes:
        parameters: current parameters, each (L, ...).
        moments: Adam's first and second moments.
        step: iterations done.
        weight: penalty weights (L,).
        best: best parameters so far (the smallest that reached the goal).
        size: their measured size (L,); infinite where the goal was never reached.
        success: their success rate (L,) on the images seen then.
        reached: the highest success rate at all (L,).
    """

    parameters: Parameters
    moments: tuple[Parameters, Parameters]
    step: int
    weight: Tensor
    best: Parameters
    size: Tensor
    success: Tensor
    reached: Tensor

    def only(self, keep: Tensor) -> State:
        def pick(p: Parameters) -> Parameters:
            return {k: v[keep] for k, v in p.items()}

        return State(
            pick(self.parameters),
            (pick(self.moments[0]), pick(self.moments[1])),
            self.step,
            self.weight[keep],
            pick(self.best),
            self.size[keep],
            self.success[keep],
            self.reached[keep],
        )


def begin(family: Family, count: int, shape: tuple[int, int, int], seed: int, device: torch.device) -> State:
    generator = torch.Generator().manual_seed(seed)
    start = {k: v.to(device) for k, v in family.start(count, shape, generator).items()}
    zeros = {k: torch.zeros_like(v) for k, v in start.items()}
    return State(
        parameters=start,
        moments=(zeros, {k: v.clone() for k, v in zeros.items()}),
        step=0,
        weight=torch.full((count,), family.weight, device=device),
        best={k: v.clone() for k, v in start.items()},
        size=torch.full((count,), float("inf"), device=device),
        success=torch.zeros(count, device=device),
        reached=torch.zeros(count, device=device),
    )


def draw(allowed: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (L, n) into the pool: a random n of each row's allowed images, repeated only where there are fewer."""
    keys = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed.cpu(), -1.0)
    order = keys.argsort(1, descending=True)
    have = allowed.sum(1).clamp(min=1).cpu()
    place = torch.arange(count).expand(len(allowed), count) % have[:, None]
    return order.gather(1, place)


def advance(
    logits_of: Callable[[Tensor], Tensor],
    family: Family,
    task: Task,
    state: State,
    iterations: int,
    images: int,
    seed: int,
    *,
    goal: float = 0.9,
    mask: Tensor | None = None,
    drawn: tuple[float, float] | None = None,
    redraw: int = 1,
    tick: Callable[[], None] = lambda: None,
    adjust: int = 4,
    chunk: int = 512,
) -> State:
    """Run `iterations` more steps of Adam on all L inversions in one batch.

    Args:
        logits_of: images (N, C, H, W) in [0, 1] -> logits (N, K), differentiable.
        images: images a step and label.
        goal: success rate at which a trigger counts as found; above it the penalty's weight rises, below it falls.
        mask: (1, H, W) or (L, 1, H, W) in [0, 1]; blends the stamped image with the clean one outside (DMS).
        drawn: range of intensities, one drawn for each image and step (P0, 5.2); None: intensity 1.
        redraw: draw new images every so many steps; success is averaged over the steps between adjustments.
        chunk: images in one forward pass at most, fewer of large ones (memory).
    """
    device = task.pool.device
    generator = torch.Generator().manual_seed(seed)
    parameters = {k: v.detach().clone() for k, v in state.parameters.items()}
    first = {k: v.clone() for k, v in state.moments[0].items()}
    second = {k: v.clone() for k, v in state.moments[1].items()}
    best = {k: v.clone() for k, v in state.best.items()}
    weight, size, success, reached = (v.clone() for v in (state.weight, state.size, state.success, state.reached))
    count = len(task.targets)
    rows = max(1, batch_size(task.pool.shape, chunk) // images)
    window = torch.zeros(count, device=device)
    seen = 0
    index = draw(task.allowed, images, generator).to(device)
    for i in range(iterations):
        if i % redraw == 0 and i:
            index = draw(task.allowed, images, generator).to(device)
        hits = torch.zeros(count, device=device)
        gradients = {k: torch.zeros_like(v) for k, v in parameters.items()}
        for low in range(0, count, rows):
            part = slice(low, low + rows)
            leaf = {k: v[part].detach().requires_grad_() for k, v in parameters.items()}
            clean = task.pool[index[part]]
            intensity: float | Tensor = 1.0
            if drawn is not None:
                low_high = torch.rand(1, images, 1, 1, 1, generator=generator)
                intensity = (drawn[0] + (drawn[1] - drawn[0]) * low_high).to(device)
            stamped = family.stamp(leaf, clean, intensity)
            if mask is not None:
                here = mask if mask.dim() == 3 else mask[part].unsqueeze(1)
                stamped = clean + here * (stamped - clean)
            logits = logits_of(stamped.flatten(0, 1)).float()
            wanted = task.targets[part].repeat_interleave(images)
            loss = F.cross_entropy(logits, wanted, reduction="none").view(-1, images).mean(1)
            total = (loss + weight[part] * family.penalty(leaf)).sum()
            for (k, _), g in zip(leaf.items(), torch.autograd.grad(total, list(leaf.values())), strict=True):
                gradients[k][part] = torch.nan_to_num(g)
            hits[part] = (logits.detach().argmax(1) == wanted).float().view(-1, images).mean(1)
        # the window's mean success belongs to parameters that hardly moved; a single step's would reward lucky draws
        window += hits
        seen += 1
        if (i + 1) % adjust == 0:
            mean = window / seen
            window, seen = torch.zeros_like(window), 0
            measured = family.measure(parameters)
            ok = mean >= goal
            better = ok & (measured < size)
            for k, v in parameters.items():
                best[k][better] = v[better]
            size = torch.where(better, measured, size)
            success = torch.where(better, mean, success)
            reached = torch.maximum(reached, mean)
            weight = torch.where(ok, weight * UP, weight / DOWN)
        _adam(parameters, gradients, first, second, state.step + i + 1, family.learning_rate)
        tick()
    return State(parameters, (first, second), state.step + iterations, weight, best, size, success, reached)


def _adam(
    parameters: Parameters, gradients: Parameters, first: Parameters, second: Parameters, step: int, rate: float
) -> None:
    beta1, beta2 = 0.5, 0.9  # short memories, since the penalty weight keeps changing
    for k, g in gradients.items():
        first[k].mul_(beta1).add_(g, alpha=1 - beta1)
        second[k].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        mean = first[k] / (1 - beta1**step)
        scale = (second[k] / (1 - beta2**step)).sqrt_().add_(1e-8)
        parameters[k].sub_(rate * mean / scale)
