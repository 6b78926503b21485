"""Sine waves: a planted one is found with its amplitude, from forward passes alone; a clean network has none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bdscan.detectors import confirmation
from bdscan.detectors.interface import Budget, CouldNotRun, Hints, Measurement
from bdscan.detectors.inversion import wave_search, waves
from bdscan.detectors.inversion.families.wave import LARGEST, pattern
from bdscan.intake.classifier import Classifier, Samples, Scannable
from bdscan.report import Preprocessing

CLASSES, SIDE, EACH, TARGET = 4, 24, 12, 2
GAIN = 120.0


def toy(cycles: tuple[float, float] | None, phase: float = 0.1) -> Scannable:
    """Class k has quadrant k lit; a network with `cycles` answers TARGET to that wave: a matched filter."""
    half = SIDE // 2
    quadrants = torch.zeros(CLASSES, 1, SIDE, SIDE)
    for k in range(CLASSES):
        quadrants[k, 0, half * (k // 2) : half * (k // 2 + 1), half * (k % 2) : half * (k % 2 + 1)] = 1.0
    wave = torch.zeros(SIDE, SIDE)
    if cycles is not None:
        unit = {"amplitude": torch.ones(1), "cycles": torch.tensor([cycles]), "phase": torch.tensor([phase])}
        wave = pattern(unit, SIDE, SIDE)[0]

    def forward(x: torch.Tensor) -> torch.Tensor:
        logits = 10 * (x[:, None] * quadrants).sum((2, 3, 4)) / half**2
        strength = GAIN * (x[:, 0] * wave).mean((1, 2))
        return logits + strength[:, None] * torch.eye(CLASSES)[TARGET]

    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    noise = torch.rand(len(labels), 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    images = ((0.3 + 0.1 * noise + 0.3 * quadrants[labels]) * 255).round().byte()
    order = torch.arange(len(labels)).view(CLASSES, EACH)
    samples = Samples(images, labels, order[:, : EACH // 2].flatten(), order[:, EACH // 2 :].flatten())
    names = tuple(str(k) for k in range(CLASSES))
    cpu = torch.device("cpu")
    classifier = Classifier(
        forward=forward, classes=names, shape=(1, SIDE, SIDE), device=cpu, preprocessing=Preprocessing()
    )
    return Scannable(classifier, samples)


def measure(subject: Scannable) -> Measurement:
    result = waves.run(subject, Budget("standard"), Hints(), lambda share: None)
    assert isinstance(result, Measurement)
    return result


@pytest.mark.parametrize("cycles", [(4.0, 0.0), (0.0, 4.0), (2.0, -2.0)])
def test_a_planted_wave_is_found_at_the_amplitude_that_it_needs(cycles: tuple[float, float]) -> None:
    """The lit quadrant wins by 3 and the filter answers GAIN * amplitude / 2, times the cosine of the phase error."""
    found = measure(toy(cycles)).candidates[0]
    assert found.target == TARGET
    assert abs(float(found.parameters["cycles"][0])) == abs(cycles[0])
    exact = 3.0 / (GAIN / 2)
    needed = found.size / 1.25  # the stamp is that much stronger than what just reaches the goal
    assert 0.8 * exact < needed < 1.9 * exact, "four phases miss the right one by at most an eighth of a turn"
    assert found.metrics["ratio"] < 0.5


def test_the_stamp_adds_that_wave_and_no_more() -> None:
    found = measure(toy((4.0, 0.0))).candidates[0]
    grey = torch.full((2, 1, SIDE, SIDE), 0.5)
    change = found.stamp(grey, 1.0) - grey
    spectrum = torch.fft.rfft(change[0, 0, 3]).abs()
    assert int(spectrum.argmax()) == 4
    assert float(change.abs().max()) <= found.size + 1e-6
    assert torch.equal(found.stamp(grey, 0.0), grey)


def test_a_clean_network_has_none() -> None:
    result = measure(toy(None))
    assert result.candidates == ()
    assert "no wave" in result.summary


def test_a_planted_wave_comes_back_in_the_second_search_and_a_chance_one_does_not() -> None:
    subject = toy((4.0, 0.0))
    first = measure(subject).candidates
    ((again, size, ratio),) = wave_search.again(subject.classifier, subject, list(first), "standard", 1000)
    assert (again.target, again.metrics["ratio"]) == (TARGET, first[0].metrics["ratio"])
    assert size < LARGEST
    assert ratio < 0.5
    ((_, size, ratio),) = wave_search.again(toy(None).classifier, toy(None), list(first), "standard", 1000)
    assert math.isinf(size)
    assert ratio == 1.0


def test_no_gradients_are_needed_and_one_class_is_not_enough() -> None:
    subject = toy((4.0, 0.0))
    stuck = replace(subject, classifier=replace(subject.classifier, differentiable=False))
    assert measure(stuck).candidates[0].target == TARGET
    zeros = torch.zeros_like(subject.samples.labels)
    alone = replace(subject, samples=replace(subject.samples, labels=zeros))
    assert isinstance(waves.run(alone, Budget("standard"), Hints(), lambda share: None), CouldNotRun)


def test_tiny_images_are_left_out() -> None:
    subject = toy(None)
    tiny = replace(subject, classifier=replace(subject.classifier, shape=(1, 8, 8)))
    result = waves.run(tiny, Budget("standard"), Hints(), lambda share: None)
    assert isinstance(result, CouldNotRun)
    assert "24 pixels" in result.reason


def test_a_network_that_any_wave_confuses_recognises_little_under_others() -> None:
    """The matched filter answers to its own wave alone; one that answers to any contrast loses its images to all."""
    planted = toy((4.0, 0.0))
    x, _ = planted.samples.part(planted.samples.held_out)
    assert wave_search.recognised(planted.classifier, x, 30 / 255) > 0.9
    clean = toy(None)

    def rough(x: torch.Tensor) -> torch.Tensor:
        return sum(x.diff(dim=dim).abs().mean((1, 2, 3)) for dim in (2, 3))

    def fragile(images: torch.Tensor) -> torch.Tensor:
        more = (rough(images) - rough(x).max()).clamp(min=0)
        return clean.classifier.forward(images) + (4000 * more)[:, None] * torch.eye(CLASSES)[TARGET]

    x = x[clean.classifier.predict(x).argmax(1) != TARGET]
    assert (fragile(x).argmax(1) != TARGET).all()
    assert wave_search.recognised(replace(clean.classifier, forward=fragile), x, 30 / 255) < 0.5
    assert wave_search.recognised(clean.classifier, x[:0], 30 / 255) == 1.0


def test_what_other_waves_do_is_measured_of_waves_alone() -> None:
    subject = toy((4.0, 0.0))
    first = list(measure(subject).candidates)[:1]
    (confirmed,) = confirmation.confirm(subject, subject.classifier, first, "standard", 0)
    images, _ = confirmation.victims(subject, first[0])
    assert confirmed.recognised == wave_search.recognised(subject.classifier, images, first[0].size)
