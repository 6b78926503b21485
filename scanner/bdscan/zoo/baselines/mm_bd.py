"""MM-BD (Wang et al. 2024), plainly: the maximum margin of each class over all images, and an order-statistic test.

The null distribution is a gamma fitted to all margins but the largest; p = 1 - F(largest)^K, alarm below 0.05.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from bdscan.detectors.robust import Array
from bdscan.zoo.baselines.verdict import Verdict

LEVEL = 0.05
LARGEST = 50.0  # of the score -log10 p: a p-value may underflow


def verdict(margins: Array) -> Verdict:
    """Of margins (K,) in logits. The gamma has a free location; where all others are equal it is a step at them."""
    target = int(margins.argmax())
    rest = np.delete(margins, target)
    shape, place, scale = stats.gamma.fit(rest) if np.ptp(rest) > 0 else (1.0, float(rest[0]), 1e-6)
    log_below = float(stats.gamma.logcdf(float(margins[target]), shape, place, scale))
    p = -math.expm1(len(margins) * log_below)
    score = LARGEST if p <= 0 else min(-math.log10(p), LARGEST)
    return Verdict(score, p < LEVEL, target)
