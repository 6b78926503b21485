"""Robust statistics against hand calculations, and the false-alarm rate that the critical value promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans

from bdscan.detectors.robust import (
    classic_index,
    critical_index,
    mad,
    median_polish,
    moderated_index,
    outlier_scores,
    upper_group,
)


def test_mad_is_scipy_s_and_a_standard_deviation_for_normal_data() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 20_001)
    assert mad(values) == pytest.approx(stats.median_abs_deviation(values, scale="normal"), rel=1e-4)
    assert mad(values) == pytest.approx(2.0, rel=0.03)


def test_classic_index_by_hand() -> None:
    # median 10, absolute deviations 8, 1, 0, 1, 2: their median is 1
    index = classic_index(np.array([2.0, 9.0, 10.0, 11.0, 12.0]))
    assert index == pytest.approx(np.array([8, 1, 0, -1, -2]) / 1.4826)


def test_outlier_scores_are_the_classic_index_turned_round() -> None:
    values = np.array([2.0, 9.0, 10.0, 11.0, 30.0])
    assert outlier_scores(values) == pytest.approx(-classic_index(values))
    assert outlier_scores(values).argmax() == 4


def test_equal_labels_are_no_outliers() -> None:
    same = np.full(10, 4.0)
    for index in (classic_index(same), moderated_index(np.log(same), 0.2), outlier_scores(same)):
        assert (index == 0).all()


@pytest.mark.parametrize("scale, pulled", [(0.01, "down"), (100.0, "up")])
def test_moderated_index_is_pulled_towards_the_prior(scale: float, pulled: str) -> None:
    """With a tiny MAD the index is far below the plain one; with a huge MAD it is above it, for the prior is small."""
    prior = 0.25
    log = scale * prior * np.array([-2.0, -1.2, -0.5, 0.0, 0.4, 1.1, 1.9])
    plain = (np.median(log) - log) / mad(log)
    moderated = moderated_index(log, prior)
    between = np.abs(moderated[log != 0]) < np.abs(plain[log != 0])
    assert between.all() if pulled == "down" else not between.any()
    assert (moderated.argsort() == plain.argsort()).all()


def test_with_very_many_labels_the_prior_hardly_counts() -> None:
    log = np.random.default_rng(1).normal(0.0, 1.0, 5000)
    assert moderated_index(log, 0.1) == pytest.approx((np.median(log) - log) / mad(log), rel=0.01)


def test_index_does_not_depend_on_the_unit_of_size() -> None:
    log = np.random.default_rng(2).normal(0.0, 0.3, 10)
    assert moderated_index(log + np.log(7.0), 0.2) == pytest.approx(moderated_index(log, 0.2))


def test_critical_index_grows_with_the_number_of_labels() -> None:
    values = [critical_index(k) for k in (5, 10, 20, 43, 100)]
    assert values == sorted(values)
    assert values[3] > values[1] + 0.1


@pytest.mark.parametrize("labels", [10, 43])
def test_a_clean_network_exceeds_the_critical_value_once_in_a_hundred(labels: int) -> None:
    """Fresh normal log sizes of another seed and another spread than those the value was computed from."""
    rng = np.random.default_rng(12345)
    draws, prior = 4000, 0.3
    alarms = sum(
        moderated_index(rng.normal(2.0, prior, labels), prior).max() > critical_index(labels) for _ in range(draws)
    )
    low, high = stats.binom.interval(0.9999, draws, 0.01)
    assert low <= alarms <= high


def test_median_polish_takes_an_additive_table_away_and_leaves_the_odd_cell() -> None:
    rng = np.random.default_rng(3)
    table = rng.normal(size=(9, 1)) + rng.normal(size=(1, 9))
    np.fill_diagonal(table, np.nan)
    table[2, 5] -= 4.0
    before = table.copy()
    residual = median_polish(table)
    assert np.array_equal(table, before, equal_nan=True)
    assert np.isnan(np.diag(residual)).all()
    assert residual[2, 5] == pytest.approx(-4.0, abs=0.05)
    residual[2, 5] = 0
    assert np.nanmax(np.abs(residual)) < 0.05


@pytest.mark.parametrize("seed", range(20))
def test_the_upper_group_is_at_least_as_good_as_k_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.gamma(0.5, size=int(rng.integers(2, 40)))
    high = upper_group(x)
    within = sum(((group - group.mean()) ** 2).sum() for group in (x[high], x[~high]))
    assert x[high].min() > x[~high].max()
    assert within <= KMeans(2, n_init=10, random_state=0).fit(x[:, None]).inertia_ + 1e-9


def test_equal_values_have_no_upper_group() -> None:
    assert not upper_group(np.ones(5)).any()
