"""Unexplained margin: a target with a feature of its own stands out, classes that share theirs do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import CLASSES, SHAPE, TARGET, subject

from bdscan.detectors import unexplained
from bdscan.detectors.interface import Budget, CouldNotRun, Hints, Measurement

OWN = 4.0  # what the planted feature adds to the target's logit


def toy(own: float = OWN, scale: float = 1.0):
    """Feature k is how bright row k + 1 is; the last is the first row, dim in clean images, read for TARGET alone."""
    clean = subject(planted=0.0)
    weight = torch.cat([torch.eye(CLASSES), torch.zeros(CLASSES, 1)], 1)
    weight[TARGET, -1] = own

    def features(x):
        rows = x[:, 0].mean(2)
        return torch.cat([rows[:, 1 : CLASSES + 1], rows[:, :1]], 1)

    head = (scale * weight, torch.zeros(CLASSES))
    classifier = replace(
        clean.classifier, features=features, head=head, forward=lambda x: features(x) @ head[0].T + head[1]
    )
    return replace(clean, classifier=classifier)


def measure(subject, budget=None):
    result = unexplained.run(subject, budget or Budget("standard"), Hints(), lambda share: None)
    assert isinstance(result, Measurement)
    return result


def test_a_target_with_a_feature_of_its_own_stands_out():
    found = measure(toy())
    assert max(found.scores, key=found.scores.__getitem__) == TARGET
    assert found.scores[TARGET] > 3
    assert found.statistics[0].target.index == TARGET
    assert found.statistics[0].value == found.scores[TARGET]
    assert all(v < 1 for k, v in found.scores.items() if k != TARGET)


def test_without_one_nobody_stands_out():
    """All that is left is what all classes share."""
    assert max(measure(toy(own=0.0)).scores.values()) < 1


def test_the_margin_is_what_the_feature_alone_can_give():
    """The first row can be raised from its mean, a tenth, to one; in clean median margins of seven tenths."""
    sub = toy()
    images, truth = sub.samples.part(sub.samples.search)
    reached = unexplained.raised(
        sub.classifier.features, sub.classifier.head[0], images, truth, 4, 60, 0, lambda share: None
    )
    assert reached.shape == (CLASSES, 2)
    assert reached[TARGET] == pytest.approx([OWN * 0.9] * 2, rel=0.1)
    assert np.abs(np.delete(reached, TARGET, 0)).max() < OWN


def test_neither_the_logits_scale_nor_another_run_changes_the_index():
    assert measure(toy(scale=10.0)).scores == pytest.approx(measure(toy()).scores, rel=1e-3)
    assert measure(toy()).scores == measure(toy()).scores


def test_what_it_cannot_do_without():
    one = toy()
    for lacking in ("features", "head"):
        without = replace(one, classifier=replace(one.classifier, **{lacking: None}))
        assert "penultimate" in unexplained.run(without, Budget("standard"), Hints(), lambda s: None).reason
    opaque = replace(one, classifier=replace(one.classifier, differentiable=False))
    assert "gradients" in unexplained.run(opaque, Budget("standard"), Hints(), lambda s: None).reason
    many = replace(one, classifier=replace(one.classifier, classes=("x",) * (unexplained.MANY + 1)))
    assert "more than" in unexplained.run(many, Budget("standard"), Hints(), lambda s: None).reason
    labels = torch.where(one.samples.labels < 2, one.samples.labels, 0)
    two = replace(one, samples=replace(one.samples, labels=labels))
    assert "three classes" in unexplained.run(two, Budget("standard"), Hints(), lambda s: None).reason


def test_answers_that_are_not_finite_are_told():
    one = toy()
    features = one.classifier.features

    def broken(x):
        return features(x) + torch.where(x[:, 0, 0].mean(1) > 0.5, torch.inf, 0.0)[:, None]

    result = unexplained.run(
        replace(one, classifier=replace(one.classifier, features=broken)), Budget("standard"), Hints(), lambda s: None
    )
    assert isinstance(result, CouldNotRun)
    assert "not finite" in result.reason


def test_fewer_clean_images_than_starts_are_enough():
    one = toy()
    few = torch.tensor([0, 6, 12])
    found = measure(replace(one, samples=replace(one.samples, search=few)))
    assert max(found.scores, key=found.scores.__getitem__) == TARGET
    assert one.classifier.shape == SHAPE
