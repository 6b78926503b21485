"""Universal and pairwise inversion: on toy subjects with a known trigger, and on tiny trained networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import CLASSES, PLANTED, SHAPE, TARGET, subject

from bdscan.detectors import registry
from bdscan.detectors.interface import Budget, CouldNotRun, Hints, Measurement
from bdscan.detectors.inversion import pairs, universal
from bdscan.detectors.inversion.families import FAMILIES
from bdscan.intake.classifier import Samples, Scannable
from bdscan.intake.load import load
from bdscan.intake.speed import fast
from bdscan.settings import Settings

QUICK, STANDARD = Budget("quick"), Budget("standard")
BY_NAME = {d.about.name: d for d in registry.DETECTORS}
SPARSE = BY_NAME["inversion.sparse"]
SMALL, LARGE = 32 * 32, 224 * 224  # pixels


def fixture(folder: Path, file: str, network: str) -> Scannable:
    settings = Settings(
        model=str(folder / file), samples=str(folder / "samples.npz"), arch=f"{folder / 'arch.py'}:{network}"
    )
    found = load(settings).scannable
    return Scannable(fast(found.classifier), found.samples, found.reference)


def measure(detector, toy: Scannable, budget: Budget = QUICK, hints: Hints | None = None) -> Measurement:
    shares: list[float] = []
    result = detector.run(toy, budget, hints or Hints(), shares.append)
    assert isinstance(result, Measurement)
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1.0001
    return result


def only_class(toy: Scannable, label: int) -> Scannable:
    same = toy.samples.search[toy.samples.labels[toy.samples.search] == label]
    return replace(toy, samples=Samples(toy.samples.images, toy.samples.labels, same, same))


def test_universal_sparse_finds_the_planted_target_and_its_pixel() -> None:
    result = measure(SPARSE, subject(), STANDARD)
    assert max(result.scores, key=result.scores.__getitem__) == TARGET
    assert set(result.scores) == set(range(CLASSES))
    first = result.candidates[0]
    assert (first.target, first.sources, first.family) == (TARGET, (), "sparse")
    stamped = first.stamp(torch.zeros(2, *SHAPE), 1.0)
    assert divmod(int(stamped[0, 0].argmax()), 8) == PLANTED
    assert first.success > 0.85
    assert first.metrics["ratio"] < 0.5
    assert first.metrics["gap"] < 0.6
    ordinary = measure(SPARSE, subject(planted=0.0), STANDARD).candidates[0].metrics
    assert ordinary["index"] < first.metrics["index"]
    assert ordinary["ratio"] > 0.6


def test_the_short_inversion_ranks_the_planted_target_first_and_leaves_no_candidate() -> None:
    result = measure(BY_NAME["inversion.fast"], subject(), STANDARD)
    assert max(result.scores, key=result.scores.__getitem__) == TARGET
    assert result.candidates == ()


@pytest.mark.parametrize(
    "name", ["inversion.sparse", "inversion.dense", "inversion.warp", "inversion.tone", "inversion.adaptive"]
)
def test_each_inversion_reports_finite_numbers_and_candidates_that_stamp_images(name: str) -> None:
    result = measure(BY_NAME[name], subject())
    assert all(np.isfinite(s.value) and s.detector == name for s in result.statistics)
    assert len(result.candidates) == universal.KEEP
    family = FAMILIES[result.candidates[0].family]
    images = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    for c in result.candidates:
        stamped = c.stamp(images, 1.0)
        assert stamped.shape == images.shape
        assert 0 <= float(stamped.min()) <= float(stamped.max()) <= 1
        assert torch.allclose(c.stamp(images, 0.0), images, atol=1e-5)
        assert c.size > 0
        assert c.size == pytest.approx(float(family.measure({k: v[None] for k, v in c.parameters.items()})[0]))
        assert c.metrics.keys() >= {"index", "ratio", "gap", "critical"}


def test_a_run_gives_the_same_twice() -> None:
    first, again = measure(SPARSE, subject()), measure(SPARSE, subject())
    assert first.statistics == again.statistics
    for a, b in zip(first.candidates, again.candidates, strict=True):
        assert all(torch.equal(a.parameters[k], b.parameters[k]) for k in a.parameters)


@pytest.mark.parametrize(
    "name", [n for n in BY_NAME if n.startswith("inversion.") and n != "inversion.wave"] + ["pairs"]
)
def test_without_gradients_it_cannot_run(name: str) -> None:
    result = BY_NAME[name].run(subject(differentiable=False), QUICK, Hints(), lambda share: None)
    assert result == CouldNotRun("the model has no input gradients")


def test_images_of_one_class_do_not_do() -> None:
    toy = only_class(subject(), TARGET)
    for name in ("inversion.sparse", "pairs"):
        result = BY_NAME[name].run(toy, QUICK, Hints(), lambda share: None)
        assert isinstance(result, CouldNotRun)
        assert "class" in result.reason


def test_the_masked_inversion_needs_a_mask_and_keeps_its_candidates_inside() -> None:
    dms = BY_NAME["inversion.dms"]
    assert isinstance(dms.run(subject(), QUICK, Hints(), lambda share: None), CouldNotRun)
    mask = torch.zeros(1, *SHAPE[1:])
    mask[0, :4] = 1
    result = measure(dms, subject(), QUICK, Hints(mask=mask))
    images = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    for c in result.candidates:
        stamped = c.stamp(images, 1.0)
        assert torch.equal(stamped[:, :, 4:], images[:, :, 4:])
        assert not torch.allclose(stamped[:, :, :4], images[:, :, :4], atol=1e-2)


def test_few_labels_are_all_examined_and_of_many_the_ranked_ones_and_controls() -> None:
    assert universal.choose_labels(10, (3,), frozenset(), Budget("standard")) == list(range(10))
    ranking = (700, 5, 999, *range(20, 40))
    many = universal.choose_labels(1000, ranking, frozenset(), Budget("standard"))
    assert {700, 5, 999} <= set(many)
    assert len(many) == len(set(many)) == universal.SOME["standard"]
    assert set(many) - set(ranking), "controls"
    assert many == universal.choose_labels(1000, ranking, frozenset(), Budget("standard"))
    assert len(universal.choose_labels(1000, (), frozenset(), Budget("standard"))) == len(many)
    assert len(universal.choose_labels(43, ranking, frozenset(), Budget("standard"), few=True)) == universal.FEW
    present = frozenset(range(100, 110))
    assert present < set(universal.choose_labels(1000, (100, 101), present, Budget("standard"))), (
        "those with samples are the controls"
    )


def test_the_pairs_asked_for() -> None:
    every = pairs.choose(10, range(10), Hints(), "standard", SMALL)
    assert len(every) == 90
    assert all(s != t for s, t in every)
    ranked = Hints(ranking=(7, 3, 9, 1, 2))
    assert pairs.choose(10, range(10), ranked, "quick", SMALL) == every
    assert {t for _, t in pairs.choose(10, range(10), ranked, "quick", LARGE)} == {7, 3}
    assert pairs.choose(10, range(10), ranked, "standard", LARGE) == every
    some = pairs.choose(43, range(43), ranked, "standard", SMALL)
    assert {t for _, t in some} == {7, 3, 9, 1}
    assert len(some) == 4 * 42
    quick = pairs.choose(1000, range(1000), ranked, "quick", LARGE)
    assert {t for _, t in quick} == {7, 3}
    assert len({s for s, _ in quick}) <= pairs.SOURCES["quick"]
    few = pairs.choose(1000, [5, 300, 700, 999], ranked, "quick", LARGE)
    assert {s for s, _ in few} == {5, 300, 700, 999}, "sources are classes that have images"


def test_a_target_with_a_confirmed_universal_trigger_needs_no_pairs() -> None:
    left = pairs.choose(10, range(10), Hints(ranking=(7, 3, 9, 1, 2), planted=frozenset({7})), "standard", SMALL)
    assert {t for _, t in left} == {3, 9}
    assert len(left) == 2 * 9, "from the planted target too"


def test_a_pair_stands_out_against_row_column_and_reverse() -> None:
    rng = np.random.default_rng(0)
    every = pairs.choose(10, range(10), Hints(), "standard", SMALL)
    rows, columns = rng.normal(0, 0.5, 10), rng.normal(0, 0.5, 10)
    log = np.array([3 + rows[s] + columns[t] + rng.normal(0, 0.1) for s, t in every])
    log[every.index((4, 7))] -= 2.0  # planted: close in one direction
    log[every.index((1, 2))] -= 2.0  # natural neighbours: close in both
    log[every.index((2, 1))] -= 2.0
    scores = pairs.pair_scores(every, log, 10)
    assert every[int(scores.argmax())] == (4, 7)
    assert scores[every.index((4, 7))] > scores[every.index((1, 2))] + 1
    additive = pairs.pair_scores(every, np.array([3 + rows[s] + columns[t] for s, t in every]), 10)
    assert np.abs(additive).max() < 1, "rows and columns alone make no pair stand out"


def test_badnets_network_has_its_smallest_sparse_trigger_at_the_true_target(fixtures_dir: Path) -> None:
    result = measure(SPARSE, fixture(fixtures_dir, "badnets.pth.tar", "digits_bn"), STANDARD)
    assert result.candidates[0].target == 8
    (bars,) = result.evidence
    values = [bar.value for bar in bars.bars]
    assert values.index(min(values)) == 8
    assert bars.bars[8].highlighted


def test_source_specific_network_has_its_top_contrast_at_the_true_pair(fixtures_dir: Path) -> None:
    result = measure(pairs, fixture(fixtures_dir, "source-specific.pt", "digits_bn"), STANDARD)
    first = result.candidates[0]
    assert (first.sources, first.target) == ((4,), 7)
    assert first.metrics["contrast"] > result.candidates[1].metrics["contrast"]
    statistic = result.statistics[0]
    assert (statistic.sources[0].index, statistic.target.index) == (4, 7)
    (matrix,) = result.evidence
    assert matrix.highlighted[0] == (4, 7)
    assert all(matrix.values[i][i] is None for i in range(10))


def lit_subject() -> Scannable:
    """A toy network whose planted pixel counts only where the image is bright overall: `bright` lifts all by a half."""
    toy = subject(0.0)

    def forward(x: torch.Tensor) -> torch.Tensor:
        logits = toy.classifier.forward(x)
        is_bright = (x[:, 0, -1].mean(1) - 0.45).clamp(min=0) * 20  # the last row is dim in every clean image
        pixel = (x[:, 0, PLANTED[0], PLANTED[1]] - 0.64).clamp(min=0)
        return logits + (is_bright * pixel * 40)[:, None] * torch.eye(CLASSES)[TARGET]

    return replace(toy, classifier=replace(toy.classifier, forward=forward))


def test_a_trigger_that_needs_another_light_is_found_in_that_light_only() -> None:
    toy = lit_subject()
    plain = measure(SPARSE, toy, STANDARD)
    lit = measure(BY_NAME["inversion.bright"], toy, STANDARD)
    smallest = lit.candidates[0]
    assert smallest.target == TARGET
    assert smallest.metrics["ratio"] < 0.35 < next(c for c in plain.candidates).metrics["ratio"]
    images = toy.samples.part(toy.samples.held_out)[0]
    assert torch.equal(smallest.stamp(images, 0.0), images), "without intensity the light does not change either"


def test_no_other_light_is_tried_where_a_trigger_is_confirmed_or_images_are_not_recognised() -> None:
    toy, bright = lit_subject(), BY_NAME["inversion.bright"]
    settled = bright.run(toy, QUICK, Hints(planted=frozenset({1})), lambda share: None)
    assert isinstance(settled, CouldNotRun)
    assert "confirmed already" in settled.reason

    def blinded(x: torch.Tensor) -> torch.Tensor:
        return toy.classifier.forward(x) - 500 * (x.mean((1, 2, 3)) - 0.4).clamp(min=0)[:, None] * torch.arange(CLASSES)

    blind = replace(toy, classifier=replace(toy.classifier, forward=blinded))
    reason = bright.run(blind, QUICK, Hints(), lambda share: None)
    assert isinstance(reason, CouldNotRun)
    assert "recognises too few" in reason.reason
