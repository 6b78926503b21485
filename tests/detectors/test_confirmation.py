"""Confirmation: a planted trigger works on held-out images and comes back from a second seed; a random one does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import CLASSES, EACH, PLANTED, SHAPE, TARGET, source_specific, subject

from bdscan.detectors import confirmation
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.wilson import wilson
from bdscan.intake.classifier import Samples, Scannable

HELD_OUT = (EACH - EACH // 2) * (CLASSES - 1)


def trigger(change: torch.Tensor, target: int = TARGET, sources: tuple[int, ...] = ()) -> Candidate:
    """A sparse candidate that adds `change` (1, 8, 8)."""
    b = torch.atanh((2 * change.clamp(1e-4, 1 - 1e-4) - 1).double()).float()
    return Candidate(
        family="sparse",
        target=target,
        sources=sources,
        parameters={"positive": b, "negative": torch.full_like(b, -20.0)},
        size=float(change.sum()),
        success=1.0,
        metrics={"index": 5.0},
        stamp=lambda images, intensity: (images + intensity * change).clamp(0, 1),
    )


def planted_pixel() -> Candidate:
    change = torch.zeros(SHAPE)
    change[0, PLANTED[0], PLANTED[1]] = 0.65
    return trigger(change)


def random_change(size: float = 1.0) -> Candidate:
    change = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    return trigger(size * change / change.sum())


def confirm(found: Candidate, toy: Scannable | None = None) -> confirmation.Confirmation:
    toy = toy or subject()
    (result,) = confirmation.confirm(toy, toy.classifier, [found], "thorough", 0)
    return result


def test_a_planted_trigger_succeeds_on_held_out_images_and_repeats() -> None:
    result = confirm(planted_pixel())
    assert (result.hits, result.n) == (HELD_OUT, HELD_OUT)
    assert result.asr == 1.0
    assert result.interval == wilson(HELD_OUT, HELD_OUT)
    assert result.repeat.asr >= 0.75
    assert result.repeat.ratio < 0.6
    assert result.metrics["asr_low"] == result.interval[0]
    assert result.metrics["index"] == 5.0, "what the first search measured stays"


def test_a_random_candidate_of_a_clean_network_does_not() -> None:
    toy = subject(planted=0.0)
    result = confirm(random_change(), toy)
    assert confirmation.success(toy.classifier, random_change(), confirmation.victims(toy, random_change())[0]) == 0
    assert result.repeat.ratio > 0.6


def test_a_lucky_candidate_is_not_helped_by_the_second_search_unless_that_one_works() -> None:
    """The random change does nothing; the planted pixel that the second search finds speaks for the target."""
    result = confirm(random_change())
    assert result.asr == result.repeat.asr
    assert divmod(int(result.trigger.stamp(torch.zeros(1, *SHAPE), 1.0).argmax()), 8) == PLANTED


def test_the_profile_has_a_threshold_where_the_pixel_wins() -> None:
    """0.65 of a pixel at 30 a unit must beat 11.2 and its spread: not at 0.25 (4.9), surely at 0.75 (14.6)."""
    toy = subject()
    result = confirmation.judge(toy, planted_pixel(), random_change(), 1.0, 1.0)
    at = dict(zip(confirmation.INTENSITIES, result.profile, strict=True))
    assert at[0.0] == at[0.25] == 0
    assert at[0.75] == at[1.0] == at[1.5] == 1
    assert list(result.profile) == sorted(result.profile)


def test_success_is_counted_on_right_images_of_the_sources_only() -> None:
    toy = subject()
    everyone = confirmation.victims(toy, planted_pixel())[0]
    assert len(everyone) == HELD_OUT
    one = replace(planted_pixel(), sources=(1,))
    of_one = confirmation.victims(toy, one)[0]
    assert len(of_one) == EACH - EACH // 2
    assert (of_one[:, 0, 2].mean((1,)) > 0.6).all(), "class 1 has row 2 lit"
    wrong = (toy.samples.labels + 1) % CLASSES
    mislabelled = replace(toy, samples=Samples(toy.samples.images, wrong, toy.samples.search, toy.samples.held_out))
    assert len(confirmation.victims(mislabelled, planted_pixel())[0]) == 0
    nobody = confirmation.judge(mislabelled, planted_pixel(), planted_pixel(), 1.0, 1.0)
    assert (nobody.asr, nobody.interval) == (0.0, (0.0, 1.0))


def test_a_pair_is_searched_again_on_its_own_source() -> None:
    pair = replace(planted_pixel(), sources=(1,), metrics={"contrast": 9.0})
    result = confirm(pair, source_specific())
    assert result.trigger.sources == (1,)
    assert result.n == EACH - EACH // 2
    assert result.asr == 1.0
    assert result.repeat.ratio < 0.6


def test_a_pair_is_held_to_other_sources_of_its_target_too() -> None:
    """What moves images of every class as easily is no trigger for one source."""
    pair = replace(planted_pixel(), sources=(1,), metrics={"contrast": 9.0})
    result = confirm(pair)
    assert result.asr == 1.0
    assert result.repeat.ratio > 0.8


def test_the_trusted_network_is_asked_too() -> None:
    assert confirm(planted_pixel()).reference_asr is None
    toy = replace(subject(), reference=subject(planted=0.0).classifier)
    assert confirm(planted_pixel(), toy).reference_asr == 0.0


def test_candidates_keep_their_order_within_a_family() -> None:
    toy = subject()
    other = trigger(torch.full(SHAPE, 0.01), target=0)
    results = confirmation.confirm(toy, toy.classifier, [planted_pixel(), other], "thorough", 0)
    assert [r.trigger.target for r in results] == [TARGET, 0]
    assert results[0].repeat.size < results[1].repeat.size


def test_the_second_search_is_the_seed_s() -> None:
    first, again = confirm(planted_pixel()), confirm(planted_pixel())
    assert first.metrics == pytest.approx(again.metrics, abs=0)
    assert first.profile == again.profile


def test_what_one_family_has_settled_the_others_do_not_search_again() -> None:
    toy, sparse = subject(), replace(planted_pixel(), metrics={"ratio": 0.1})
    dense = replace(planted_pixel(), family="dense", metrics={"ratio": 0.3})
    elsewhere = replace(dense, target=0)
    found = [elsewhere, dense, sparse]
    every = confirmation.confirm(toy, toy.classifier, found, "quick", 0)
    assert [(r.trigger.family, r.trigger.target) for r in every] == [
        ("sparse", TARGET),
        ("dense", 0),
        ("dense", TARGET),
    ]
    some = confirmation.confirm(toy, toy.classifier, found, "quick", 0, settled=lambda c: c.trigger.target == TARGET)
    assert [(r.trigger.family, r.trigger.target) for r in some] == [("sparse", TARGET), ("dense", 0)]
    assert some[0].metrics == every[0].metrics


def test_a_trigger_that_is_only_tried_has_no_second_search() -> None:
    result = confirmation.try_out(subject(), planted_pixel())
    assert (result.hits, result.n, result.repeat) == (HELD_OUT, HELD_OUT, None)
    assert not any(name.startswith("repeat") for name in result.metrics)
