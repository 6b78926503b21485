"""Class distance on a toy network whose shortest way from class to class is known."""

from __future__ import annotations

import pytest
from planted import CLASSES, subject

from bdscan.repair.distance import distance, drawn


def test_a_network_is_as_far_apart_as_itself() -> None:
    toy = subject(0.0)
    images, labels = toy.samples.part(toy.samples.search)
    found = distance(toy.classifier, toy.classifier, images, labels, 0)
    assert found is not None
    assert found.pairs == min(90, CLASSES * (CLASSES - 1))
    assert found.before == found.after > 0
    assert found.increase == 0


def test_a_planted_pixel_makes_the_way_short() -> None:
    clean, bad = subject(0.0), subject(30.0)
    images, labels = clean.samples.part(clean.samples.search)
    found = distance(clean.classifier, bad.classifier, images, labels, 0)
    assert found is not None
    assert found.after < found.before
    assert found.increase < 0


@pytest.mark.parametrize(
    "classes, count", [([], 0), ([3], 0), ([3, 5], 2), (list(range(10)), 90), (list(range(43)), 90)]
)
def test_pairs_are_all_or_drawn(classes: list[int], count: int) -> None:
    pairs = drawn(classes, 0)
    assert len(set(pairs)) == len(pairs) == count
    assert all(s != t for s, t in pairs)
    assert pairs == drawn(classes, 0)
