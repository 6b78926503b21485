"""GangSweep (Zhu et al. 2020, "GangSweep: Sweep out Neural Backdoors by GAN"), plainly.

For each label a generator that turns a clean image into a perturbation mask, trained against the network under test
with Carlini and Wagner's loss towards the label and a bound on the mask's norm; then outliers among the labels, since
masks of a planted trigger persist: they move every image's features far (shifting distance) and alike (low shifting
variance).

From the paper: the generator with the network in the place of a discriminator, the kinds of both losses, the two
properties in feature space, the median absolute deviation. The paper was not at hand: its architecture, weights,
margin, norm, bound and training length are not checked. Ours: a U-Net of two levels with a part that is the same on
every image, and the L1 norm, without which BadNets on MNIST, a network of the table, was not found in so few steps;
log(distance / root of the variance) as the one statistic, an outlier where its index is above 2; a label counts only
where its masks move half of the images. Scaled down: 150 steps of 10 images a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.robust import outlier_scores
from bdscan.intake.classifier import Classifier
from bdscan.zoo.baselines.generator import Generator, seeded
from bdscan.zoo.baselines.per_class import PerClass, floats, others

STEPS, PER_STEP, RATE = 150, 10, 5e-3
MARGIN = 5.0  # kappa, in logits: how far the label is to lead before the loss is content
BOUND, WEIGHT = 0.02, 300.0  # of the mask's L1 norm over C*H*W, and of what exceeds it
EXAMINED = 100  # images of other classes that the statistics are taken of
ALARM, FLOOR = 2.0, 0.1  # index of an outlier; least spread of the log statistic over labels
SUCCESS = 0.5


@dataclass(frozen=True)
class Shift:
    """What one label's masks do: success share, mean L1 norm over C*H*W, and the features' shift."""

    success: float
    size: float
    distance: float
    deviation: float


def invert(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int = STEPS,
    per_step: int = PER_STEP,
    seed: int = 0,
) -> PerClass:
    """Of clean images (N,C,H,W) in [0,1] with labels (N,). The classifier must have `features`."""
    assert classifier.features is not None
    generators = [
        train(classifier, images[labels != k], k, steps, per_step, seed)[0] for k in range(len(classifier.classes))
    ]
    found = [
        shift(classifier, generator, images[others(labels, k, EXAMINED)], k) for k, generator in enumerate(generators)
    ]
    return judged(found, generators)


def train(
    classifier: Classifier, images: Tensor, target: int, steps: int, per_step: int, seed: int
) -> tuple[Generator, list[float]]:
    """The generator of one label, and its loss by step. `images` are of other classes."""
    generator = seeded(classifier.shape, seed, images.device)
    optimiser = torch.optim.Adam(generator.parameters(), RATE)
    draw = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        clean = images[torch.randint(len(images), (per_step,), generator=draw).to(images.device)]
        stamped = generator.changed(clean)
        excess = torch.relu(size_of(stamped - clean) - BOUND)
        loss = (carlini_wagner(classifier(stamped), target) + WEIGHT * excess).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    return generator, losses


def carlini_wagner(logits: Tensor, target: int) -> Tensor:
    """How far the target is from leading logits (N,K) by MARGIN, 0 at least; (N,)."""
    rest = logits.clone()
    rest[:, target] = -torch.inf
    return torch.relu(rest.amax(1) - logits[:, target] + MARGIN)


def size_of(change: Tensor) -> Tensor:
    """L1 norm over C*H*W of changes (N,C,H,W): their mean absolute value, (N,)."""
    return change.flatten(1).abs().mean(1)


def shift(classifier: Classifier, generator: Generator, images: Tensor, target: int) -> Shift:
    """On clean images of other classes."""
    assert classifier.features is not None
    stamped = generator.stamp(images)
    with torch.no_grad():
        moved = classifier.features(stamped) - classifier.features(images)
    middle = moved.mean(0)
    return Shift(
        success=float((classifier.predict(stamped).argmax(1) == target).float().mean()),
        size=float(size_of(stamped - images).mean()),
        distance=float(middle.norm()),
        deviation=float((moved - middle).square().sum(1).mean().sqrt()),
    )


def judged(found: list[Shift], generators: list[Generator]) -> PerClass:
    persistence = np.log([max(one.distance, 1e-9) / max(one.deviation, 1e-9) for one in found])
    index = outlier_scores(persistence, FLOOR)
    flagged = {k for k, one in enumerate(found) if index[k] > ALARM and one.success >= SUCCESS}
    details = {name: floats([getattr(one, name) for one in found]) for name in Shift.__dataclass_fields__}
    return PerClass(floats(index.tolist()), frozenset(flagged), {k: g.stamp for k, g in enumerate(generators)}, details)
