"""Class distance: the size of the smallest trigger from one class to another (P1, L.1), before and after a repair.

What hardening is to enlarge. P1 inverts each pair three times for 1000 epochs with a hundred images; here it is one
short inversion from the same few images and the same start for both networks, so the ratio says more than the sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.between import FAMILY, pair_task
from bdscan.detectors.inversion.pairs import finite
from bdscan.intake.classifier import Classifier
from bdscan.intake.speed import fast
from bdscan.repair.outcome import Distance

ITERATIONS, IMAGES = 80, 4
MOST = 90  # pairs: all of ten classes


def distance(
    before: Classifier,
    after: Classifier,
    images: Tensor,
    labels: Tensor,
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> Distance | None:
    """Mean size over class pairs on both networks, and the mean relative increase (eq. 12).

    Args:
        images, labels: clean images (N, C, H, W) in [0, 1] and labels (N,); their classes are the sources.

    None where there are fewer than two classes.
    """
    pairs = drawn(sorted(set(labels.tolist())), seed)
    if not pairs:
        return None
    task = pair_task(images, labels, torch.ones_like(labels, dtype=torch.bool), pairs)
    sizes = []
    for number, classifier in enumerate((before, after)):
        state = loop.begin(FAMILY, len(pairs), classifier.shape, seed, classifier.device)
        state = loop.advance(fast(classifier), FAMILY, task, state, ITERATIONS, IMAGES, seed + 1)
        sizes.append(np.maximum(finite(state, FAMILY.cap(classifier.shape)), 1.0))
        tick((number + 1) / 2)
    old, new = sizes
    return Distance(
        pairs=len(pairs),
        before=float(old.mean()),
        after=float(new.mean()),
        increase=float(((new - old) / old).mean()),
    )


def drawn(classes: list[int], seed: int) -> list[tuple[int, int]]:
    """All ordered pairs of the classes, or MOST of them drawn by the seed."""
    pairs = [(s, t) for s in classes for t in classes if s != t]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:MOST]
    return [pairs[i] for i in sorted(chosen)]
