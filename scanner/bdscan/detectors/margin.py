"""Margin: how far random images can raise each class above all others (the idea of MM-BD). Needs no clean images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from bdscan.detectors.common import bars, label_of
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.robust import Array, outlier_scores
from bdscan.intake.classifier import Scannable, batch_size
from bdscan.report import Statistic

STARTS = {"quick": 2, "standard": 3, "thorough": 8}
ITERATIONS = {"quick": 15, "standard": 25, "thorough": 100}
MANY = 100  # classes beyond which only so many ranked ones are tried:
LABELS = 24

about = About(
    name="margin",
    title="Maximum margin",
    needs="input gradients; no images",
    finds="targets whose logit can be raised far above all others, whatever the trigger's kind",
    misses="source-specific triggers; clean classes with strong features of their own",
    source="after MM-BD (maximum margin statistic)",
)


def largest_margins(
    subject: Scannable, labels: list[int], starts: int, iterations: int, seed: int, progress: Progress
) -> Array:
    """max over random starts of f_t - max_{j != t} f_j after signed gradient ascent, (len(labels),)."""
    classifier = subject.classifier
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor(labels).repeat_interleave(starts)
    images = torch.rand(len(targets), *classifier.shape, generator=generator).to(classifier.device)
    targets = targets.to(classifier.device)
    best = torch.full((len(targets),), -torch.inf, device=classifier.device)
    batch = batch_size(classifier.shape, 128)
    for i in range(iterations):
        step = 0.15 * (1 - i / iterations) + 0.01
        for part in torch.split(torch.arange(len(targets), device=classifier.device), batch):
            leaf = images[part].requires_grad_()
            logits = classifier(leaf)
            own = logits.gather(1, targets[part, None])[:, 0]
            rest = (logits - 1e9 * F.one_hot(targets[part], logits.shape[1])).amax(1)
            (gradient,) = torch.autograd.grad((own - rest).sum(), leaf)
            best[part] = torch.maximum(best[part], (own - rest).detach())
            images[part] = (images[part].detach() + step * gradient.sign()).clamp(0, 1)
        progress((i + 1) / iterations)
    return np.asarray(best.view(-1, starts).amax(1).cpu().double().numpy())


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    if not subject.classifier.differentiable:
        return CouldNotRun("the model has no input gradients")
    classes = len(subject.classifier.classes)
    labels = list(range(classes)) if classes <= MANY else sorted(hints.ranking[:LABELS]) or list(range(LABELS))
    margins = largest_margins(subject, labels, STARTS[budget.name], ITERATIONS[budget.name], budget.seed, progress)
    index = outlier_scores(margins, floor=0.05 * abs(float(np.median(margins))))
    top = int(index.argmax())
    return Measurement(
        statistics=(
            Statistic(
                name="margin.index",
                detector=about.name,
                value=float(index[top]),
                target=label_of(subject, labels[top]),
                description="largest anomaly index of the maximum margins",
            ),
        ),
        evidence=(
            bars(
                subject,
                "Largest margin that random images reach",
                "logits",
                [float(v) for v in margins],
                labels=labels,
                highlighted=[labels[top]],
                reference=float(np.median(margins)),
            ),
        ),
        summary=f"largest margin: class {labels[top]} (index {index[top]:.1f})",
        scores={label: float(v) for label, v in zip(labels, index, strict=True)},
    )
