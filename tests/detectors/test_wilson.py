"""The Wilson interval is scipy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from bdscan.detectors.wilson import wilson


@pytest.mark.parametrize("n", [1, 2, 7, 50, 1000])
def test_interval_is_scipy_s(n: int) -> None:
    for hits in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_other_levels_are_narrower_or_wider() -> None:
    expected = binomtest(9, 12).proportion_ci(0.5, method="wilson")
    assert wilson(9, 12, z=0.6744898) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_nothing_seen_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
