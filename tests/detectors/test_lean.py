"""Lean: a poisoned source leans to its target on clean images, and the target does not lean back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import CLASSES, EACH, SHAPE, TARGET, subject

from bdscan.detectors.interface import Budget, CouldNotRun, Hints
from bdscan.detectors.inversion import between, lean
from bdscan.detectors.inversion.trigger import Candidate


def leaning(source: int = 1, target: int = TARGET, by: float = 8.0):
    """The clean toy, whose answers to images of `source` are `by` nearer to `target`."""
    toy = subject(planted=0.0)
    clean = toy.classifier.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        of_source = x[:, 0, source + 1].mean(1) > 0.4
        return clean(x) + by * of_source[:, None] * torch.eye(CLASSES)[target]

    return replace(toy, classifier=replace(toy.classifier, forward=forward))


def run(toy, budget: str = "standard", hints: Hints | None = None):
    return lean.run(toy, Budget(budget), hints or Hints(), lambda share: None)


def test_gaps_are_means_over_right_search_images():
    toy = subject(planted=0.0)
    x, y = toy.samples.part(toy.samples.search)
    logits = toy.classifier(x)[y == 2].double()
    table = lean.gaps(toy)
    assert table.shape == (CLASSES, CLASSES)
    assert np.isnan(np.diag(table)).all()
    assert table[2, 0] == pytest.approx(float((logits[:, 2] - logits[:, 0]).mean()))


def test_a_class_with_fewer_right_images_than_it_takes_leans_nowhere(monkeypatch):
    monkeypatch.setattr(lean, "LEAST_IMAGES", EACH // 2 + 1)
    assert np.isnan(lean.gaps(subject())).all()
    assert isinstance(run(subject()), CouldNotRun)


def test_a_class_without_right_images_leans_nowhere():
    toy = subject()
    toy = replace(toy, samples=replace(toy.samples, labels=torch.zeros_like(toy.samples.labels)))
    table = lean.gaps(toy)
    assert np.isfinite(table).any(1).tolist() == [True] + [False] * (CLASSES - 1)
    assert isinstance(run(toy), CouldNotRun)


def test_the_source_that_leans_one_way_comes_first():
    found = run(leaning())
    first = found.statistics[0]
    assert (first.name, first.sources[0].index, first.target.index) == ("lean.index", 1, TARGET)
    assert first.value > 3 * max(abs(s.value) for s in found.statistics[1:])


def test_classes_that_lean_to_each_other_do_not_count():
    table = np.full((6, 6), 10.0) + np.random.default_rng(0).uniform(-0.5, 0.5, (6, 6))
    np.fill_diagonal(table, np.nan)
    table[4, 1] = 4.0
    assert lean.most(lean.leanings(table), 1) == [(4, 1)]
    one_way = lean.leanings(table)[4, 1]
    table[1, 4] = 4.0
    assert lean.leanings(table)[4, 1] < 0.2 * one_way


def test_what_is_not_known_is_never_among_the_most():
    table = np.full((3, 3), 5.0)
    np.fill_diagonal(table, np.nan)
    table[2] = np.nan
    assert set(lean.most(lean.leanings(table), 9)) == {(0, 1), (1, 0)}


def many(monkeypatch, toy=None):
    """As if five classes were too many to invert all pairs."""
    monkeypatch.setattr(lean, "ALL_PAIRS", CLASSES - 1)
    return toy or leaning()


def test_among_many_classes_triggers_are_looked_for_where_it_leans_most(monkeypatch):
    found = run(many(monkeypatch))
    assert len(found.candidates) == lean.SEARCHED
    first = found.candidates[0]
    assert isinstance(first, Candidate)
    assert (first.sources, first.target) == ((1,), TARGET)
    assert first.metrics["lean"] == found.statistics[0].value
    assert first.metrics["contrast"] == 0.0, "it is not compared with other pairs"
    x, y = leaning().samples.part(leaning().samples.held_out)
    assert (leaning().classifier(first.stamp(x[y == 1], 1.0)).argmax(1) == TARGET).all()


@pytest.mark.parametrize("case", ["few classes", "planted", "no gradients", "quick", "large images"])
def test_else_it_only_measures_and_says_what_that_leaves_out(monkeypatch, case):
    toy = leaning() if case == "few classes" else many(monkeypatch)
    if case == "no gradients":
        toy = replace(toy, classifier=replace(toy.classifier, differentiable=False))
    if case == "large images":
        monkeypatch.setattr(lean, "SMALL", SHAPE[1] * SHAPE[2] - 1)
    hints = Hints(planted=frozenset({0}) if case == "planted" else frozenset())
    found = run(toy, "quick" if case == "quick" else "standard", hints)
    assert found.candidates == ()
    assert found.statistics
    assert bool(found.left_out) == (case in {"quick", "large images"})


def test_pair_tasks_have_the_right_images_of_their_source():
    toy = subject()
    x, y = toy.samples.part(toy.samples.search)
    right = y != 4
    task = between.pair_task(x, y, right, [(1, 0), (4, 2)])
    assert task.targets.tolist() == [0, 2]
    assert task.allowed.sum(1).tolist() == [EACH // 2, 0]
