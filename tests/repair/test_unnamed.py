"""Classes that the report names no trigger of, though they are reached with far smaller ones than others."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample

from bdscan.intake.classifier import Scannable
from bdscan.repair import measure
from bdscan.repair.planted import Planted
from bdscan.repair.unnamed import targets, unnamed
from bdscan.report import Label, Report, Statistic

PLANTED = 8  # of the fixture; the report's alarm is about class 3
KNOWN = [Planted(3, (), "wave", lambda images, intensity: images)]


def report(ratio: float, family: str = "sparse", weakness: bool = False, also: int | None = None) -> Report:
    """An alarm about class 3 (a weakness), and about the class `also`."""
    label = Label(index=PLANTED, name="8")
    small = Statistic(name=f"{family}.ratio", detector="inversion", value=ratio, target=label)
    made = sample.backdoor()
    (alarm,) = (one for one in made.findings if one.target and one.target.index == 3)
    findings = (alarm.model_copy(update={"weakness": weakness}),)
    if also is not None:
        findings = (*findings, alarm.model_copy(update={"target": Label(index=also, name=str(also))}))
    return made.model_copy(update={"statistics": (*made.statistics, small), "findings": findings})


def test_a_class_far_below_others_is_one_unless_a_trigger_is_known_or_nothing_alarms() -> None:
    assert targets(report(0.1), KNOWN) == (PLANTED,)
    assert targets(report(0.3), KNOWN) == (), "natural ones are as small as this"
    assert targets(report(0.1, family="tone"), KNOWN) == (), "a tone of that size is natural"
    assert targets(report(0.1, weakness=True), KNOWN) == (), "without an alarm it is a clean network's"
    assert targets(report(0.1), [*KNOWN, Planted(PLANTED, (), "dense", KNOWN[0].stamp)]) == ()


def test_beside_two_alarmed_classes_a_weaker_sign_is_enough() -> None:
    assert targets(report(0.3, also=5), KNOWN) == (PLANTED,)
    assert targets(report(0.3, also=3), KNOWN) == (), "two triggers to one class are one attack"
    assert targets(report(0.3, also=5, family="tone"), KNOWN) == ()
    assert targets(report(0.5, also=5), KNOWN) == ()


def test_its_trigger_is_found_again_and_works(badnets: Scannable) -> None:
    (found,) = unnamed(report(0.1), badnets, KNOWN, 0)
    assert (found.target, found.sources, found.hidden) == (PLANTED, (), True)
    images, labels = badnets.samples.part(badnets.samples.held_out)
    everything = torch.ones(len(labels), dtype=torch.bool)
    assert measure.success(badnets.classifier, found, images, labels, everything).value > 0.7


def test_a_class_whose_triggers_turn_out_ordinary_is_none(badnets: Scannable) -> None:
    small = Statistic(name="sparse.ratio", detector="d", value=0.1, target=Label(index=5, name="5"))
    ordinary = report(0.1).model_copy(update={"statistics": (small,)})
    assert targets(ordinary, KNOWN) == (5,)
    assert unnamed(ordinary, badnets, KNOWN, 0) == ()
