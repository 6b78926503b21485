"""The detectors that invert no trigger: what they say of a planted subject, of its clean twin, and when they cannot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import CLASSES, PLANTED, SHAPE, TARGET, subject

from bdscan.detectors import last_layer, margin, sensitivity, steps
from bdscan.detectors.interface import Budget, CouldNotRun, Hints, Measurement
from bdscan.intake.classifier import Samples, Scannable

QUICK = Budget("quick")


def measure(detector, toy: Scannable, budget: Budget = QUICK) -> Measurement:
    shares: list[float] = []
    result = detector.run(toy, budget, Hints(), shares.append)
    assert isinstance(result, Measurement)
    assert all(s.value is not None and math.isfinite(s.value) for s in result.statistics)
    assert all(s.detector == detector.about.name and s.name.startswith(s.detector) for s in result.statistics)
    assert all(0 <= share <= 1.0001 for share in shares)
    assert shares == sorted(shares)
    assert result.summary
    assert result.evidence
    return result


def top(result: Measurement) -> int:
    assert set(result.scores) == set(range(CLASSES))
    return max(result.scores, key=result.scores.__getitem__)


@pytest.mark.parametrize("detector", [last_layer, steps, margin], ids=lambda d: d.about.name)
def test_the_planted_target_ranks_first_and_stands_out_more_than_in_the_clean_twin(detector) -> None:
    planted, clean = measure(detector, subject()), measure(detector, subject(planted=0.0))
    assert top(planted) == TARGET
    assert planted.scores[TARGET] > clean.scores[TARGET] + 1


@pytest.mark.parametrize("detector", [last_layer, steps, margin, sensitivity], ids=lambda d: d.about.name)
def test_the_same_seed_says_the_same(detector) -> None:
    first, again = measure(detector, subject()), measure(detector, subject())
    assert first.statistics == again.statistics
    assert first.evidence == again.evidence
    assert first.scores == again.scores


@pytest.mark.parametrize("detector", [steps, margin], ids=lambda d: d.about.name)
def test_without_gradients_it_cannot_run(detector) -> None:
    result = detector.run(subject(differentiable=False), QUICK, Hints(), lambda share: None)
    assert result == CouldNotRun("the model has no input gradients")


def test_last_layer_needs_a_head() -> None:
    result = last_layer.run(subject(head=None), QUICK, Hints(), lambda share: None)
    assert isinstance(result, CouldNotRun)
    assert "linear" in result.reason


def test_last_layer_sums_the_positive_part_of_the_centred_rows() -> None:
    weight = torch.tensor([[1.0, -2.0, 0.0], [4.0, 1.0, -3.0]])
    toy = subject(head=(weight, torch.zeros(2)))
    toy = replace(toy, classifier=replace(toy.classifier, classes=("a", "b")))
    (bars,) = measure(last_layer, toy).evidence
    # centred: ±(-1.5, -1.5, 1.5)
    assert [bar.value for bar in bars.bars] == pytest.approx([1.5, 3.0])


def test_largest_margin_of_a_linear_network_is_its_analytic_maximum() -> None:
    """Against one rival the margin of a linear network is largest in a corner of the cube: its positive part."""
    toy = subject()
    weight = toy.classifier.head[0][:2]
    toy = replace(
        toy, classifier=replace(toy.classifier, forward=lambda x: x.flatten(1) @ weight.T, classes=("a", "b"))
    )
    found = margin.largest_margins(toy, [0, 1], 2, 40, 0, lambda share: None)
    exact = [float((weight[t] - weight[1 - t]).clamp(min=0).sum()) for t in (0, 1)]
    assert found == pytest.approx(exact, rel=0.02)


def test_steps_flips_land_on_the_planted_target() -> None:
    sources, first, landed = steps.mutate(subject(), 24)
    assert sources.shape == first.shape == landed.shape == (3 * CLASSES,)
    others = sources != TARGET
    assert (landed[others] == TARGET).all()
    assert (landed != sources).all()
    _, late, _ = steps.mutate(subject(planted=0.0), 24)
    assert first[others].mean() < late[others].mean(), "a planted pixel is nearer than any natural way"


def test_lead_by_hand() -> None:
    """Two samples of class 0: one flips to 1 at step 2 of 8, one never; one of class 1 flips to 2 at step 8 of 8."""
    table = steps.lead(np.array([0, 0, 1]), np.array([2, 8, 8]), np.array([1, -1, 2]), 3, 8)
    assert table.tolist() == [[0, (1 + 6 / 8) / 2, 0], [0, 0, 1], [0, 0, 0]]


def test_kmeans_rows_name_the_one_label_that_stands_out() -> None:
    table = np.full((5, 5), 0.1) + 0.01 * np.arange(5)
    np.fill_diagonal(table, 0)
    table[2, 4] = 1.5
    table[3, 0] = table[3, 1] = 1.5  # two labels: no single target
    found = steps.rows_by_kmeans(table)
    assert (2, 4) in found
    assert not any(m == 3 for m, _ in found)
    assert steps.rows_by_kmeans(np.zeros((5, 5))) == []


def test_steps_needs_an_image_that_is_classified_correctly() -> None:
    toy = subject()
    wrong = Samples(toy.samples.images, (toy.samples.labels + 1) % CLASSES, toy.samples.search, toy.samples.held_out)
    result = steps.run(replace(toy, samples=wrong), QUICK, Hints(), lambda share: None)
    assert isinstance(result, CouldNotRun)


def test_sensitivity_is_highest_where_the_pixel_was_planted() -> None:
    toy = subject()
    images, _ = toy.samples.part(toy.samples.search)
    with_it = sensitivity.sensitivity(toy.classifier.predict, images, 4)
    without = sensitivity.sensitivity(subject(planted=0.0).classifier.predict, images, 4)
    place = int((with_it / with_it.mean() - without / without.mean()).argmax())
    assert divmod(place, 4) == (PLANTED[0] // 2, PLANTED[1] // 2)


def test_sensitivity_with_a_trusted_network_leaves_a_mask_with_the_planted_pixel_in_it() -> None:
    toy = replace(subject(), reference=subject(planted=0.0).classifier)
    result = measure(sensitivity, toy)
    assert result.mask is not None
    assert result.mask.shape == (1, *SHAPE[1:])
    assert 0 < float(result.mask.min()) <= float(result.mask.max()) <= 1
    assert result.mask[0, PLANTED[0], PLANTED[1]] > result.mask.median()
    assert float(result.mask.median()) < 0.5


def test_sensitivity_works_without_gradients_and_with_a_student() -> None:
    result = measure(sensitivity, subject(differentiable=False))
    assert result.mask is not None
    assert result.mask.shape == (1, *SHAPE[1:])


def test_middle_slice_is_between_its_quantiles() -> None:
    difference = torch.arange(100.0).view(10, 10)
    mask = sensitivity.middle_slice(difference, (10, 10))[0].flatten()
    low, high = (difference.flatten().quantile(q) for q in sensitivity.SLICE)
    inside = (difference.flatten() >= low) & (difference.flatten() <= high)
    assert (mask[inside] == 1).all()
    below = difference.flatten() < low
    assert (mask[below] == sensitivity.OUTSIDE).all()


def test_sensitivity_needs_room_for_a_map() -> None:
    toy = subject()
    tiny = replace(toy, classifier=replace(toy.classifier, shape=(1, 2, 2)))
    assert isinstance(sensitivity.run(tiny, QUICK, Hints(), lambda share: None), CouldNotRun)
