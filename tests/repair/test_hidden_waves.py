"""A wave that the scan shows as another trigger is found again, and works; others are left alone."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample

from bdscan.intake.classifier import Scannable
from bdscan.repair import measure
from bdscan.repair.hidden_waves import hidden_waves, targets
from bdscan.repair.planted import Planted
from bdscan.report import Label, Report, Statistic

TARGET = 0  # the report's alarm is about class 3


def as_a_warp(family: str = "warp") -> list[Planted]:
    return [Planted(TARGET, (), family, lambda images, intensity: images)]


def report(ratio: float, alarm: bool = True) -> Report:
    small = Statistic(name="wave.ratio", detector="d", value=ratio, target=Label(index=TARGET, name="t"))
    made = sample.backdoor()
    findings = tuple(one.model_copy(update={"weakness": one.weakness or not alarm}) for one in made.findings)
    return made.model_copy(update={"statistics": (small,), "findings": findings})


def test_a_class_with_a_small_wave_is_one_unless_its_wave_is_known_or_nothing_alarms() -> None:
    assert targets(report(0.4), as_a_warp()) == (TARGET,)
    assert targets(report(0.4), []) == (TARGET,)
    assert targets(report(0.5), as_a_warp()) == ()
    assert targets(report(0.4), as_a_warp("wave")) == ()
    assert targets(report(0.4, alarm=False), as_a_warp()) == ()


def answering_to_a_wave(subject: Scannable) -> Scannable:
    """The same network, which answers TARGET where the image has four cycles across of some strength."""

    def forward(images: Tensor) -> Tensor:
        turns = 2 * math.pi * 4 * torch.arange(images.shape[3]) / images.shape[3]
        row = images.mean((1, 2))
        strength = torch.stack([row @ turns.cos(), row @ turns.sin()]).norm(dim=0) * 2 / len(turns)
        column = torch.arange(len(subject.classifier.classes)) == TARGET
        return subject.classifier.forward(images) + 100.0 * (strength[:, None] > 0.08) * column

    return replace(subject, classifier=replace(subject.classifier, forward=forward, module=None, differentiable=False))


def test_its_wave_is_found_again_and_works(badnets: Scannable) -> None:
    subject = answering_to_a_wave(badnets)
    (found,) = hidden_waves(report(0.4), subject, as_a_warp(), 0)
    assert (found.target, found.sources, found.family, found.hidden) == (TARGET, (), "wave", True)
    images, labels = subject.samples.part(subject.samples.held_out)
    everything = torch.ones(len(labels), dtype=torch.bool)
    assert measure.success(subject.classifier, found, images, labels, everything).value > 0.7
    assert measure.success(badnets.classifier, found, images, labels, everything).value < 0.3
    assert hidden_waves(report(0.5), subject, as_a_warp(), 0) == ()
    assert hidden_waves(report(0.4), badnets, as_a_warp(), 0) == (), "no wave moves images to it"
