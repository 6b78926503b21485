"""Last layer: what the final linear weights alone tell, in milliseconds and without data.

A backdoor gives its target a large positive weight on the features that the trigger excites. It orders the work and
adds evidence; clean networks reach high values too, so it never decides (docs/design.md).
"""

from __future__ import annotations

import numpy as np
import torch

from bdscan.detectors.common import bars, label_of
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.robust import outlier_scores
from bdscan.intake.classifier import Scannable
from bdscan.report import Statistic

LATENTS = 20_000

about = About(
    name="last_layer",
    title="Last-layer statistics",
    needs="a final linear layer; no images",
    finds="targets with unusually large positive weights, source-specific ones among them",
    misses="backdoors that spread over all features; alone it does not decide",
    source="own measurement; compare MM-BD and last-layer weight analysis",
)


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    """Positive sum of each centred weight row, and the share of random non-negative latents that each class wins."""
    head = subject.classifier.head
    if head is None:
        return CouldNotRun("no final linear layer was found")
    weight = head[0].detach().double().cpu()
    centred = weight - weight.mean(0)
    positive = centred.clamp(min=0).sum(1).numpy()
    generator = torch.Generator().manual_seed(budget.seed)
    latents = torch.rand(min(LATENTS, 2_000_000 // len(weight)), weight.shape[1], generator=generator).double()
    bias = head[1].detach().double().cpu()
    wins = torch.bincount((latents @ weight.T + bias).argmax(1), minlength=len(weight)).double().numpy() / len(latents)
    index = outlier_scores(positive, floor=1e-3 * float(np.median(positive)))
    top = int(index.argmax())
    target = label_of(subject, top)
    return Measurement(
        statistics=(
            Statistic(
                name="last_layer.positive_sum_index",
                detector=about.name,
                value=float(index[top]),
                target=target,
                description="largest anomaly index of the positive sums of the centred last-layer rows",
            ),
            Statistic(
                name="last_layer.latent_share",
                detector=about.name,
                value=float(wins.max()),
                target=label_of(subject, int(wins.argmax())),
                description="largest share of random non-negative latents that one class wins",
            ),
        ),
        evidence=(
            bars(
                subject,
                "Positive sum of the last layer's row",
                "weight",
                [float(v) for v in positive],
                highlighted=[top],
                reference=float(np.median(positive)),
            ),
        ),
        summary=f"largest positive sum: class {target.index} (index {index[top]:.1f})",
        scores={i: float(v) for i, v in enumerate(index)},
    )
