"""Unlearning: stamped images get back the answer that the original gave to the same images without a stamp (P4, III.C).

Ten images a class are few, so they are varied (shifted, mixed with each other), and what the original says of the
varied clean image is what the student must say of it with and without any stamp. That keeps clean behaviour and
needs no label but the target's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted
from bdscan.repair.student import Student


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: of Adam, in one round.
        images: clean images a step; as many stamped ones come beside them.
        learning_rate: at the start; falls to a tenth by a cosine.
        intensities: range that stamps are drawn from (P0's profile).
        labels: weight of the images' own labels beside the original's answers.
        shift: largest shift, as a share of the image's side.
    """

    steps: int = 250
    images: int = 48
    learning_rate: float = 5e-4
    intensities: tuple[float, float] = (0.4, 1.3)
    labels: float = 0.3
    shift: float = 0.08


def varied(images: Tensor, shift: float, generator: torch.Generator) -> Tensor:
    """Each image shifted by its own few pixels, and a third of them mixed with another one."""
    count, _, height, width = images.shape
    most = max(1, round(shift * min(height, width)))
    padded = F.pad(images, (most,) * 4, mode="replicate")
    places = torch.randint(0, 2 * most + 1, (count, 2), generator=generator).tolist()
    moved = torch.stack([p[:, y : y + height, x : x + width] for p, (y, x) in zip(padded, places, strict=True)])
    share = 1 - 0.5 * torch.rand(count, 1, 1, 1, generator=generator)
    share[torch.rand(count, generator=generator) > 1 / 3] = 1.0
    other = moved[torch.randperm(count, generator=generator).to(images.device)]
    share = share.to(images.device)
    return share * moved + (1 - share) * other


def stamped(
    images: Tensor, labels: Tensor, triggers: Sequence[Planted], recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Each image with one of the triggers that concern its class, at a drawn intensity."""
    out = images.clone()
    choice = torch.randint(0, 2**31 - 1, (len(images),), generator=generator)
    low, high = recipe.intensities
    levels = (low + (high - low) * torch.rand(4, generator=generator)).tolist()
    concerned = torch.stack([t.victims(labels) for t in triggers]).cpu()  # (T, n)
    weight = concerned.long().cumsum(0) * concerned
    wanted = choice % concerned.sum(0).clamp(min=1) + 1
    for t, trigger in enumerate(triggers):
        for level, intensity in enumerate(levels):
            rows = ((weight[t] == wanted) & (choice // 7 % len(levels) == level)).nonzero()[:, 0].to(images.device)
            if len(rows):
                out[rows] = trigger.stamp(images[rows], intensity)
    return out


def unlearn(
    teacher: Classifier,
    student: Student,
    images: Tensor,
    labels: Tensor,
    triggers: Sequence[Planted],
    recipe: Recipe,
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> None:
    """Train the student in place on images (N, C, H, W) in [0, 1] with labels (N,).

    Divergence from the original's answer to the clean image, on clean and on stamped images alike, plus cross-entropy
    with the label where the original is right.
    """
    generator = torch.Generator().manual_seed(seed)
    device = images.device
    optimiser = torch.optim.Adam(student.weights, lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: 0.55 + 0.45 * math.cos(math.pi * min(i / recipe.steps, 1.0))
    )
    for step in range(recipe.steps):
        rows = torch.randint(0, len(images), (recipe.images,), generator=generator).to(device)
        clean, truth = varied(images[rows], recipe.shift, generator), labels[rows]
        with torch.no_grad():
            answer = teacher(clean)
            right = answer.argmax(1) == truth
        both = torch.cat([clean, stamped(clean, truth, triggers, recipe, generator)])
        logits = student.classifier(both)
        wanted = F.log_softmax(answer, 1).repeat(2, 1)
        loss = F.kl_div(F.log_softmax(logits, 1), wanted, log_target=True, reduction="batchmean")
        if bool(right.any()):
            known = right.repeat(2)
            loss = loss + recipe.labels * F.cross_entropy(logits[known], truth.repeat(2)[known])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.weights, 5.0)
        optimiser.step()
        schedule.step()
        tick((step + 1) / recipe.steps)
