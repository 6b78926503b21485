"""Isolate Trigger's Steps with k-means (P4, algorithm 1), with a model score of our own.

P4 clusters each row of Lead in two and reads a high cluster of one label n in row m as the pair (m, n). It states no
rule for a whole network. Ours: the largest share of source classes that point at one label; half of them alarm. A
single source cannot be told from a natural neighbour this way.
"""

from __future__ import annotations

import numpy as np

from bdscan.detectors.robust import Array
from bdscan.detectors.steps import rows_by_kmeans
from bdscan.zoo.baselines.verdict import Verdict

HALF = 0.5


def verdict(table: Array) -> Verdict:
    """Of Lead (K, K), source by target."""
    pairs = rows_by_kmeans(table)
    if not pairs:
        return Verdict(0.0, False, None)
    pointing = np.bincount([n for _, n in pairs], minlength=len(table)) / (len(table) - 1)
    target = int(pointing.argmax())
    return Verdict(float(pointing[target]), bool(pointing[target] >= HALF), target)
