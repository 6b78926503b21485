"""Published detectors on a toy network whose trigger is known, and on its clean twin."""

from __future__ import annotations

import numpy as np
import pytest
from planted import CLASSES, TARGET, subject
from scipy import stats

from bdscan.zoo.baselines import mm_bd, neural_cleanse, steps_kmeans


@pytest.mark.parametrize("adaptive", [False, True])
def test_neural_cleanse_finds_the_planted_pixel(adaptive: bool) -> None:
    def sizes(planted: float) -> np.ndarray:
        toy = subject(planted)
        images, labels = toy.samples.part(toy.samples.search)
        found = neural_cleanse.inverted(
            toy.classifier, images, labels, iterations=150, per_step=6, adaptive=adaptive
        ).sizes
        assert found.shape == (CLASSES,)
        return found

    bad, clean = sizes(30.0), sizes(0.0)
    verdict = neural_cleanse.verdict(bad)
    assert (verdict.alarm, verdict.target) == (True, TARGET)
    assert bad[TARGET] < 0.5 * clean[TARGET]
    assert verdict.score > neural_cleanse.verdict(clean).score


def test_labels_that_never_reach_the_goal_are_as_large_as_the_image() -> None:
    toy = subject()
    images, labels = toy.samples.part(toy.samples.search)
    found = neural_cleanse.inverted(toy.classifier, images, labels, iterations=4, per_step=2).sizes
    assert found.max() == 64.0


def test_mm_bd_is_the_order_statistic_of_a_gamma() -> None:
    margins = np.array([5.0, 6.0, 5.5, 4.8, 6.2, 5.1, 9.0])
    shape, place, scale = stats.gamma.fit(np.delete(margins, 6))
    p = 1 - stats.gamma.cdf(9.0, shape, place, scale) ** 7
    found = mm_bd.verdict(margins)
    assert found.score == pytest.approx(-np.log10(p), rel=1e-4)
    assert (found.alarm, found.target) == (True, 6)
    assert not mm_bd.verdict(np.array([5.0, 6.0, 5.5, 4.8, 6.2, 5.1, 6.4])).alarm
    assert mm_bd.verdict(np.array([5.0, 5.0, 5.0, 80.0])).score == mm_bd.LARGEST
    assert not mm_bd.verdict(np.array([-1.0, -2.0, -1.5, -1.2, -1.8, -1.1])).alarm


def test_steps_alarm_where_half_of_the_sources_point_at_one_label() -> None:
    generator = np.random.default_rng(0)
    table = generator.uniform(0, 0.1, (6, 6))
    table[[0, 1, 3, 4], 2] = 1.5
    table[5, 0] = 1.5
    found = steps_kmeans.verdict(table)
    assert (found.alarm, found.target, found.score) == (True, 2, 0.8)
    assert not steps_kmeans.verdict(np.zeros((6, 6))).alarm
