"""Unexplained margin: how far each class can be raised along features that clean images do not have.

The clean images' classes differ along a few directions of the penultimate layer, those between their means. With these
taken out a clean network has little left to tell classes apart by. A trigger that works whatever the image shows has a
direction of its own, and its target is raised along it without any of the target's own features: also where the trigger
is a warp, an object, or needs another light, and no small change of the image finds it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.common import bars, evenly, label_of
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.inversion.drive import margins
from bdscan.detectors.robust import Array, moderated_index
from bdscan.intake.classifier import Scannable, batch_size
from bdscan.report import Statistic

STEPS = {"quick": 15, "standard": 30, "thorough": 60}
RATE = 0.05  # Adam's, in units of the image's range
FEW = 12  # classes up to which each gets
STARTS, FEWER = 4, 1  # clean images and as many random ones; fewer where there are more classes
MANY = 100  # classes beyond which it costs more than it tells
SPREAD = 0.45  # of a class's logarithm on clean networks, root mean square
LEAST, NOTHING = 0.05, 0.03  # of the median class, and of a clean margin: what is less, or below zero, counts as that

about = About(
    name="unexplained",
    title="Unexplained margin",
    needs="input gradients; the penultimate layer; clean images",
    finds="targets with a direction in feature space that clean classes do not use: warps, objects, other light",
    misses="patches that use the target's own features; source-specific triggers; it decides nothing alone",
    source="the maximum margin statistic (MM-BD), with the subspace of the clean class means taken out",
)


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    classifier = subject.classifier
    if not classifier.differentiable:
        return CouldNotRun("the model has no input gradients")
    if len(classifier.classes) > MANY:
        return CouldNotRun(f"more than {MANY} classes")
    if classifier.features is None or classifier.head is None:
        return CouldNotRun("no penultimate layer was found")
    images, truth = subject.samples.part(subject.samples.search, classifier.device)
    logits = classifier.predict(images)
    right = logits.argmax(1) == truth
    if len(set(truth[right].tolist())) < 3:
        return CouldNotRun("fewer than three classes have an image that is classified right")
    images, truth, scale = images[right], truth[right], float(margins(logits[right], truth[right]).median())
    weight = classifier.head[0].to(images.device).float()
    starts = STARTS if len(classifier.classes) <= FEW else FEWER
    reached = (
        raised(classifier.features, weight, images, truth, starts, STEPS[budget.name], budget.seed, progress) / scale
    )
    if not np.isfinite(reached).all():
        return CouldNotRun("the model's answers are not finite")
    index = outlying(reached)
    top = int(index.argmax())
    return Measurement(
        statistics=(
            Statistic(
                name="unexplained.index",
                detector=about.name,
                value=float(index[top]),
                target=label_of(subject, top),
                description="largest moderated index of the margins without what clean classes differ by",
            ),
        ),
        evidence=(
            bars(
                subject,
                "Margin without what clean classes differ by",
                "clean median margins",
                [float(v) for v in reached.mean(1)],
                highlighted=[top],
                reference=float(np.median(reached.mean(1))),
            ),
        ),
        summary=f"largest unexplained margin: class {top} (index {index[top]:.1f})",
        scores={label: float(v) for label, v in enumerate(index)},
    )


def outlying(reached: Array) -> Array:
    """Moderated index (K,) of margins (K, 2): of the mean logarithm of both kinds of starts."""
    least = np.maximum(LEAST * np.abs(np.median(reached, axis=0)), NOTHING)
    return moderated_index(-np.log(np.maximum(reached, least)).mean(1), SPREAD)


def raised(
    features_of: Callable[[Tensor], Tensor],
    weight: Tensor,
    images: Tensor,
    truth: Tensor,
    starts: int,
    steps: int,
    seed: int,
    progress: Progress,
) -> Array:
    """Each class's mean margins (K, 2) along the features that the means of the classes leave over.

    After an ascent from `starts` clean images, and from as many random ones. `images` are all classified
    right, `weight` (K, D) is the last layer's.
    """
    with torch.no_grad():
        parts = torch.split(images, batch_size(images.shape, 128))
        features = torch.cat([features_of(part).float() for part in parts])
    means = torch.stack([features[truth == k].mean(0) for k in torch.unique(truth).tolist()])
    middle = means.mean(0)
    _, size, basis = torch.linalg.svd(means - middle, full_matrices=False)
    used = basis[size > 1e-5 * size[0]]  # one direction fewer than classes: they are taken about their middle

    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(starts, *images.shape[1:], generator=generator).to(images.device)
    begin = torch.cat([evenly(images, starts), random])
    classes = len(weight)
    targets = torch.arange(classes, device=images.device).repeat_interleave(len(begin))
    points = begin.repeat(classes, 1, 1, 1)
    first, second = torch.zeros_like(points), torch.zeros_like(points)
    reached = torch.zeros(len(points), device=images.device)
    for step in range(1, steps + 1):
        for part in torch.split(torch.arange(len(points), device=images.device), batch_size(points.shape, 128)):
            leaf = points[part].requires_grad_()
            left = features_of(leaf).float() - middle
            value = margins((left - (left @ used.T) @ used) @ weight.T, targets[part])
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
            gradient = torch.nan_to_num(gradient)
            reached[part] = value.detach()
            first[part] = 0.9 * first[part] + 0.1 * gradient
            second[part] = 0.999 * second[part] + 0.001 * gradient.square()
        mean, spread = first / (1 - 0.9**step), (second / (1 - 0.999**step)).sqrt()
        points = (points.detach() + RATE * mean / (spread + 1e-8)).clamp(0, 1)
        progress(step / steps)
    rows = reached.view(classes, -1)
    by_start = torch.stack([rows[:, :-starts].mean(1), rows[:, -starts:].mean(1)], 1)
    return np.asarray(by_start.cpu().double().numpy())
