"""Crossed halves: a pair's trigger is looked for and driven where its search has not looked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import EACH, PLANTED, planted_trigger, source_specific, subject

from bdscan.detectors import confirmation, crossed
from bdscan.detectors.interface import Budget

HALF = EACH // 2


def leads(toy, asked=lambda c, metric: True, sources=(1,), seed=0):
    (result,) = crossed.with_leads(
        toy, toy.classifier, [planted_trigger(sources, contrast=9.0)], Budget("standard", seed), asked
    )
    return result.metrics


def other_half(toy, asked=lambda c: True, sources=(1,)):
    first = confirmation.try_out(toy, planted_trigger(sources, contrast=9.0))
    (result,) = crossed.search_other_half(toy, toy.classifier, [first], "thorough", 0, asked)
    return result.metrics


def test_a_source_specific_trigger_leads_at_its_place_and_comes_back_on_the_other_half():
    found = leads(source_specific())
    assert found["lead"] > 0.5
    assert found["other_lead"] > 0.5
    assert (found["images"], found["contrast"]) == (HALF, 9.0)
    again = other_half(source_specific())
    assert again["other_ratio"] < 0.5
    assert again["other_asr"] == 1.0


def test_a_trigger_for_every_source_does_not_lead():
    """The others of its target reach as far with these cells, and are as near."""
    assert leads(subject())["lead"] < 0.3
    assert other_half(subject())["other_ratio"] > 0.7


def test_without_a_backdoor_the_cells_lead_nowhere():
    assert leads(subject(planted=0.0))["lead"] < 0.3


def test_only_what_is_asked_for_is_measured():
    assert set(leads(source_specific(), lambda c, metric: False)) == {"contrast"}
    assert set(leads(source_specific(), lambda c, metric: metric == "lead")) == {"contrast", "images", "lead"}
    assert "other_ratio" not in other_half(source_specific(), lambda c: False)
    assert "other_ratio" not in other_half(subject(), sources=()), "of every class: both halves have images enough"


def test_the_second_lead_is_asked_for_when_the_first_is_known():
    asked = []
    leads(source_specific(), lambda c, metric: asked.append((metric, "lead" in c.metrics)) or True)
    assert asked == [("lead", False)] * 3 + [("other_lead", True)], "anybody, then this one, then with its images known"


def test_the_halves_are_exchanged_and_nothing_else():
    toy = subject()
    other = crossed.other_half(toy)
    assert torch.equal(other.samples.search, toy.samples.held_out)
    assert torch.equal(other.samples.held_out, toy.samples.search)
    assert other.classifier is toy.classifier


@pytest.mark.parametrize("part", ["search", "held_out"])
def test_without_a_right_image_in_one_half_there_is_no_lead(part):
    toy = source_specific()
    labels = toy.samples.labels.clone()
    rows = getattr(toy.samples, part)
    labels[rows[labels[rows] == 1]] = 2  # now called wrongly by the network
    found = leads(replace(toy, samples=replace(toy.samples, labels=labels)))
    assert found["images"] == 0
    assert "lead" not in found


def test_the_seed_decides():
    assert leads(source_specific()) == leads(source_specific())
    assert leads(source_specific())["lead"] != leads(source_specific(), seed=1)["lead"]


def test_answers_that_are_not_finite_give_no_lead():
    toy = source_specific()
    forward = toy.classifier.forward

    def broken(x):
        return forward(x) + torch.where(x[:, 0, PLANTED[0], PLANTED[1]] > 0.9, torch.nan, 0.0)[:, None]

    assert "lead" not in leads(replace(toy, classifier=replace(toy.classifier, forward=broken)))
