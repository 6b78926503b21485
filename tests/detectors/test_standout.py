"""Standing out: a planted patch leads at its place; what is natural, or planted for one source, does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import CLASSES, PLANTED, TARGET, planted_trigger, source_specific, subject

from bdscan.detectors import confirmation, standout
from bdscan.detectors.interface import Budget
from bdscan.detectors.inversion.families import FAMILIES


def leads(toy, asked=lambda c, metric: True, sources=(), family="sparse", seed=0, name="standard"):
    trigger = replace(planted_trigger(sources, ratio=0.1), family=family)
    first = confirmation.try_out(toy, trigger)
    (result,) = standout.with_leads(toy, toy.classifier, [first], Budget(name, seed), asked)
    return {k: v for k, v in result.metrics.items() if k in ("lead", "other_lead")}


def test_a_planted_pixel_leads_on_both_halves():
    """It adds up to 21 to the target's logit; the images win by 11.2, and no other class gains a tenth of that."""
    found = leads(subject())
    assert found["lead"] > 0.8
    assert found["other_lead"] > 0.8


@pytest.mark.parametrize("toy", [subject(planted=0.0), source_specific()], ids=["clean", "one source"])
def test_without_a_trigger_for_every_class_nothing_leads(toy):
    assert max(leads(toy).values()) < 0.6


def test_only_what_is_asked_for_is_measured():
    assert leads(subject(), lambda c, metric: False) == {}
    assert set(leads(subject(), lambda c, metric: metric == "lead")) == {"lead"}
    assert leads(subject(), sources=(1,)) == {}, "pairs are held to other pairs (crossed.py)"
    assert leads(subject(), family="dense") == {}, "no place to put a patch"


def test_the_second_lead_is_asked_for_when_the_first_is_known():
    asked = []
    leads(subject(), lambda c, metric: asked.append((metric, "lead" in c.metrics)) or True)
    assert asked == [("lead", False), ("lead", False), ("other_lead", True)]


def test_a_trigger_of_another_light_is_driven_in_that_light():
    """The pixel works only where the image is bright overall, as half of all light added makes it."""
    toy = subject(0.0)

    def forward(x):
        bright = (x[:, 0, -1].mean(1) - 0.45).clamp(min=0) * 20  # the last row is dim in every clean image
        pixel = x[:, 0, PLANTED[0], PLANTED[1]] - 0.65  # what it is in that light
        return toy.classifier.forward(x) + (bright * pixel * 40)[:, None] * torch.eye(CLASSES)[TARGET]

    lit = replace(toy, classifier=replace(toy.classifier, forward=forward))
    assert FAMILIES["bright"].light is not None
    assert leads(lit, family="bright")["lead"] > 0.8
    assert leads(lit)["lead"] < 0.4


def test_without_images_of_other_classes_there_is_no_lead():
    toy = subject()
    labels = toy.samples.labels.clone()
    rows = toy.samples.held_out
    labels[rows[labels[rows] != TARGET]] = TARGET  # all of that half is called wrongly, or is the target's own
    assert leads(replace(toy, samples=replace(toy.samples, labels=labels))) == {}


def test_answers_that_are_not_finite_give_no_lead():
    toy = subject()
    forward = toy.classifier.forward

    def broken(x):
        return forward(x) + torch.where(x[:, 0, PLANTED[0], PLANTED[1]] > 0.9, torch.nan, 0.0)[:, None]

    assert leads(replace(toy, classifier=replace(toy.classifier, forward=broken))) == {}


def test_the_seed_decides():
    assert leads(subject()) == leads(subject())
    assert leads(subject(), seed=1) != leads(subject())
