"""Robust outlier statistics over labels and over pairs of labels. Numbers in, numbers out; no models here."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONSISTENCY = 1.4826  # makes the MAD of normal data its standard deviation
PRIOR_WEIGHT = 8.0  # labels that the prior counts for


def mad(values: Array) -> float:
    """Median absolute deviation, scaled to a standard deviation."""
    return float(CONSISTENCY * np.median(np.abs(values - np.median(values))))


def classic_index(sizes: Array) -> Array:
    """Neural Cleanse's anomaly index of each label: (median - v) / MAD on the sizes themselves.

    The MAD has a floor of 1 % of the median: where most labels are censored at the cap it would be zero.
    """
    middle = float(np.median(sizes))
    return np.asarray((middle - sizes) / max(mad(sizes), 0.01 * abs(middle), 1e-12))


def moderated_index(log_sizes: Array, prior_spread: float) -> Array:
    """Anomaly index (K,) on log sizes with a moderated spread.

    The MAD of ten labels is noise: by chance it is tiny, and a harmless label gets an index of five. So the variance is
    pulled towards `prior_spread`, what labels of clean networks show in this family, with the weight of eight labels.
    """
    spread2 = (PRIOR_WEIGHT * prior_spread**2 + len(log_sizes) * mad(log_sizes) ** 2) / (PRIOR_WEIGHT + len(log_sizes))
    return np.asarray((np.median(log_sizes) - log_sizes) / np.sqrt(spread2))


@functools.lru_cache(maxsize=32)
def critical_index(labels: int, level: float = 0.01, draws: int = 20_000) -> float:
    """The value that the largest moderated index of `labels` normal log sizes exceeds with probability `level`.

    It grows with the number of labels: a fixed 2 is exceeded by chance when K = 43.
    """
    generator = np.random.default_rng(0)
    values = generator.normal(0.0, 1.0, (draws, labels))  # the prior spread cancels out
    median = np.median(values, 1, keepdims=True)
    spread = CONSISTENCY * np.median(np.abs(values - median), 1)
    moderated = np.sqrt((PRIOR_WEIGHT + labels * spread**2) / (PRIOR_WEIGHT + labels))
    largest = (median[:, 0] - values.min(1)) / moderated
    return float(np.quantile(largest, 1 - level))


def upper_group(values: Array) -> NDArray[np.bool_]:
    """Which of the values (n,) are in the higher of the two groups of k-means; all False where all are equal.

    On a line the groups are a cut of the sorted values, so the best cut is found outright and Lloyd's iterations from
    random starts are not needed.
    """
    if np.ptp(values) == 0:
        return np.zeros(len(values), dtype=bool)
    ordered = np.sort(values)
    low = np.arange(1, len(ordered))
    below, total = ordered.cumsum()[:-1], float(ordered.sum())
    between = below**2 / low + (total - below) ** 2 / (len(ordered) - low)  # largest where the squares within are least
    return np.asarray(values >= ordered[1 + int(between.argmax())])


def known_median(table: Array, axis: int) -> Array:
    """Median along an axis, kept as an axis of length one, over the cells that are not NaN; 0 where all are."""
    median = np.ma.median(np.ma.masked_invalid(table), axis=axis, keepdims=True)  # type: ignore[no-untyped-call]
    return np.asarray(median.filled(0.0))


def median_polish(table: Array, rounds: int = 10) -> Array:
    """Residuals of a (K, K) table after its row and column medians are taken away (Tukey). NaN cells stay NaN."""
    residual = table.astype(np.float64).copy()
    for _ in range(rounds):
        residual -= known_median(residual, 1)
        residual -= known_median(residual, 0)
    return residual


def outlier_scores(values: Array, floor: float = 1e-9) -> Array:
    """(v - median) / MAD of each value: large for unusually large ones."""
    return np.asarray((values - np.median(values)) / max(mad(values), floor))
