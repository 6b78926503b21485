"""FeatureRE (Wang et al. 2022, "Rethinking the Reverse-engineering of Trojan Triggers"), plainly.

Features of triggered images lie in a hyperplane: some coordinates m of the penultimate layer a(.) take one value. For
each label an input transformation F and a mask m in [0,1] are searched together: cross-entropy towards the label of the
mixed features (1 - m) a(x) + m t, with t the mean of a(F(x)), under three bounds: F(x) stays near x, the deviation of
a(F(x)) inside m is small, m is small.

From the paper: the loss and the three constraints. The paper was not at hand: the bounds' values, their weights, the
network and the threshold of its decision are not checked, nor whether its features are always the penultimate layer's.
Ours: a U-Net of two levels that starts at the identity instead of a warm-up; penalties for what exceeds the bounds,
weighed up while the mixed features succeed and down otherwise; a mask of a fifth of the units, since our layers have
100 to 512; the deviation over the value. The mixed value, cross-entropy plus each bounded quantity over its bound,
decides: a label is a target whose mixed value is an outlier below the other labels' (index above 2) and whose mixed
features succeed on 90 %. The rule was settled on two networks of the table (MNIST, BadNets and SIN). The recovered
trigger is F alone, as an attacker could use it. Scaled down: 80 steps of 10 images a label.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bdscan.detectors.robust import classic_index
from bdscan.intake.classifier import Classifier
from bdscan.zoo.baselines.generator import Generator, seeded
from bdscan.zoo.baselines.per_class import PerClass, Stamp, floats

STEPS, PER_STEP = 80, 10
RATE, MASK_RATE = 5e-3, 0.1
NEAR, SPREAD, SIZE = 0.02, 0.5, 0.2  # bounds: mean |F(x) - x|, deviation over value inside m, mean of m
WEIGHTS = (300.0, 10.0, 100.0)  # of what exceeds them
START, FACTOR, LEAST, MOST = 0.03, 1.2, 1e-3, 3.0  # times the weights; raised while the success goal holds
SUCCESS, ALARM = 0.9, 2.0
EXAMINED = 60


@dataclass(frozen=True)
class Hyperplane:
    """One label's measures: success share and cross-entropy of the mixed features, and the three bounded quantities."""

    success: float
    entropy: float
    near: float
    spread: float
    size: float

    @property
    def mixed(self) -> float:
        return self.entropy + self.near / NEAR + self.spread / SPREAD + self.size / SIZE


def invert(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int = STEPS,
    per_step: int = PER_STEP,
    seed: int = 0,
) -> PerClass:
    """Of clean images (N,C,H,W) in [0,1] with labels (N,). The classifier must have `features` and `head`."""
    assert classifier.features is not None
    assert classifier.head is not None
    with torch.no_grad():
        plain = classifier.features(images)
    found: list[Hyperplane] = []
    stamps: dict[int, Stamp] = {}
    for k in range(len(classifier.classes)):
        rest = labels != k
        problem = Problem(classifier.features, classifier.head, images[rest], plain[rest], k)
        generator, raw, _ = search(problem, steps, per_step, seed)
        with torch.no_grad():
            rows = torch.linspace(0, int(rest.sum()) - 1, EXAMINED).long()
            found.append(problem.measured(generator, raw, rows)[2])
        stamps[k] = generator.stamp
    return judged(found, stamps)


def judged(found: Sequence[Hyperplane], stamps: Mapping[int, Stamp]) -> PerClass:
    index = classic_index(np.array([one.mixed for one in found]))
    flagged = frozenset(k for k, one in enumerate(found) if index[k] > ALARM and one.success >= SUCCESS)
    details = {name: floats([getattr(one, name) for one in found]) for name in Hyperplane.__dataclass_fields__}
    return PerClass(floats(index.tolist()), flagged, stamps, details)


@dataclass(frozen=True)
class Problem:
    """One label: clean images (N,C,H,W) of other classes, their features (N,D), and the last layer (K,D), (K,)."""

    features: Callable[[Tensor], Tensor]
    head: tuple[Tensor, Tensor]
    images: Tensor
    plain: Tensor
    target: int

    def measured(self, generator: Generator, raw: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Hyperplane]:
        """Cross-entropy, penalties, and all parts as numbers, on some of the images; `raw` (D,) is logit m."""
        clean, mask = self.images[rows], torch.sigmoid(raw)
        changed = generator.changed(clean)
        moved = self.features(changed)
        value = moved.mean(0)
        logits = ((1 - mask) * self.plain[rows] + mask * value) @ self.head[0].T + self.head[1]
        entropy = functional.cross_entropy(logits, torch.full((len(rows),), self.target, device=clean.device))
        deviation = ((moved - value).square().mean(0) + 1e-12).sqrt()
        spread = (mask * deviation).sum() / (mask * value.abs()).sum().clamp(min=1e-6)
        bounded = (changed - clean).abs().mean(), spread, mask.mean()
        excess = zip(bounded, (NEAR, SPREAD, SIZE), WEIGHTS, strict=True)
        penalty = torch.stack([weight * torch.relu(value - bound) for value, bound, weight in excess]).sum()
        success = float((logits.argmax(1) == self.target).float().mean())
        parts = Hyperplane(success, float(entropy.detach()), *(float(one.detach()) for one in bounded))
        return entropy, penalty, parts


def search(problem: Problem, steps: int, per_step: int, seed: int) -> tuple[Generator, Tensor, list[float]]:
    """F, the mask before its sigmoid (D,), and the cross-entropy by step.

    The step that succeeded with the least penalty is kept, the last one where none did.
    """
    device = problem.images.device
    _, channels, height, width = problem.images.shape
    generator = seeded((channels, height, width), seed, device)
    raw = torch.full((problem.plain.shape[1],), 2.0, device=device).requires_grad_()
    groups: list[dict[str, Any]] = [{"params": generator.parameters()}, {"params": [raw], "lr": MASK_RATE}]
    optimiser = torch.optim.Adam(groups, RATE)
    draw = torch.Generator().manual_seed(seed)
    factor, least, kept, losses = START, float("inf"), (generator, raw.detach()), []
    for _ in range(steps):
        rows = torch.randint(len(problem.images), (per_step,), generator=draw).to(device)
        entropy, penalty, parts = problem.measured(generator, raw, rows)
        reached = parts.success >= SUCCESS
        if reached and float(penalty.detach()) < least:
            least, kept = float(penalty.detach()), (copy.deepcopy(generator), raw.detach().clone())
        factor = min(max(factor * FACTOR if reached else factor / FACTOR, LEAST), MOST)
        optimiser.zero_grad()
        torch.autograd.backward(entropy + factor * penalty)
        optimiser.step()
        losses.append(float(entropy.detach()))
    return *kept, losses
