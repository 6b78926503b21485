"""Sharpened patches: stronger than the trigger that they come from, on few places, and the loss has a slope there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from bdscan.intake.classifier import Scannable
from bdscan.repair import measure
from bdscan.repair import unlearn as unlearning
from bdscan.repair.outcome import Accuracy, Rate, Strongest, TriggerEffect
from bdscan.repair.planted import Planted
from bdscan.repair.sharp_patches import LARGEST, patches
from bdscan.repair.sharpen import Sharp, sharpen
from bdscan.repair.student import frozen, student_of
from bdscan.repair.unlearn import Recipe, unlearn, unlikely
from bdscan.repair.verdict import shortcomings
from bdscan.report import Label, Report, Verdict

TARGET = 8


def pixel(row: int, column: int) -> Planted:
    """One white pixel: a trace of the fixture's square, as inversion finds it."""

    def stamp(images: Tensor, intensity: float) -> Tensor:
        out = images.clone()
        out[:, :, row, column] += min(intensity, 1.0) * (1 - out[:, :, row, column])
        return out

    return Planted(TARGET, (), "sparse", stamp)


def covered(patch: Sharp) -> Tensor:
    """(H, W): 1 on the pixels that the patch changes on grey."""
    grey = torch.full_like(patch.values, 0.5)
    return ((patch.stamp(grey, 1.0) - grey).abs().amax((0, 1)) > 0).float()


def margin(logits: Tensor) -> float:
    others = logits.index_fill(1, torch.tensor([TARGET]), float("-inf"))
    return float((logits[:, TARGET] - others.amax(1)).mean())


def test_a_sharpened_patch_works_better_than_its_origin_and_changes_nothing_else(badnets: Scannable) -> None:
    images, labels = badnets.samples.part(badnets.samples.search)
    origin = pixel(2, 13)  # the middle of the fixture's pattern
    victims = images[origin.victims(labels)]
    patch = patches([origin], images, labels, 0)[-1]
    for seed in range(3):
        patch = sharpen(patch, badnets.classifier, images, labels, seed)
    stamped = patch.stamp(victims, 1.0)
    outside = covered(patch) == 0
    assert torch.equal(stamped[:, :, outside], victims[:, :, outside])
    assert float(stamped.min()) >= 0
    assert float(stamped.max()) <= 1
    with torch.no_grad():
        weak, strong = (margin(badnets.classifier(x)) for x in (origin.stamp(victims, 1.0), stamped))
    assert weak < 0 < strong
    elsewhere = patches([pixel(13, 2)], images, labels, 0)[-1]
    for seed in range(3):
        elsewhere = sharpen(elsewhere, badnets.classifier, images, labels, seed)
    with torch.no_grad():
        assert margin(badnets.classifier(elsewhere.stamp(victims, 1.0))) < strong - 5
    again = sharpen(patches([origin], images, labels, 0)[-1], badnets.classifier, images, labels, 0)
    twice = sharpen(patches([origin], images, labels, 0)[-1], badnets.classifier, images, labels, 0)
    assert torch.equal(again.values, twice.values), "the same seed gives the same patch"


def test_only_small_sparse_triggers_have_patches_and_the_last_of_a_target_have_none() -> None:
    images, labels = torch.zeros(20, 1, 32, 32), torch.arange(20) % 10
    whole = Planted(TARGET, (), "sparse", lambda x, a: x + a)
    dense = Planted(TARGET, (), "dense", pixel(5, 5).stamp)
    nobody = Planted(TARGET, (11,), "sparse", pixel(5, 5).stamp)
    assert patches([whole, dense, nobody], images, labels, 0) == []
    small = [pixel(5, 5), pixel(9, 9), pixel(20, 20), pixel(25, 5), pixel(25, 9)]
    found = patches([whole, *small], images, labels, 0, most=4)
    assert [patch.origin for patch in found] == [small[0], small[0], small[1], small[1], small[2], small[3]]
    assert [int(covered(patch).sum()) for patch in found] == [9, 25, 9, 25, 25, 25]
    assert [patch.origin for patch in patches([whole, *small], images, labels, 0)] == [*small[:1] * 2, *small[1:2] * 2]
    assert all(float(covered(patch).mean()) <= LARGEST for patch in found)


def test_the_loss_has_a_slope_where_the_target_is_certain() -> None:
    logits = torch.tensor([[0.0, 80.0, 1.0]], requires_grad=True)
    before = torch.log_softmax(torch.zeros(1, 3), 1)
    loss = unlikely(torch.log_softmax(logits, 1), before, torch.tensor([1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(80 - torch.tensor([0.0, 1.0]).logsumexp(0).item(), abs=1e-3)
    assert logits.grad is not None
    assert float(logits.grad[0, 1]) == pytest.approx(1.0, abs=1e-4)


def test_unlearning_stamps_what_was_sharpened(badnets: Scannable, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = badnets.samples.part(badnets.samples.search)
    seen: list[list[str]] = []
    plain = unlearning.stamped

    def watch(x: Tensor, y: Tensor, pool: list[Planted], recipe: Recipe, g: torch.Generator) -> tuple[Tensor, Tensor]:
        seen.append([trigger.family for trigger in pool])
        return plain(x, y, pool, recipe, g)

    monkeypatch.setattr(unlearning, "stamped", watch)
    student = student_of(badnets.classifier)
    unlearn(badnets.classifier, student, images, labels, [pixel(2, 13)], Recipe(steps=4, every=2), 0)
    first = seen[0].count("sharpened")
    assert first > 0
    assert [families.count("sharpened") for families in seen] == [first, first, 2 * first, 2 * first]


def test_the_strongest_patch_works_on_the_original_and_not_on_the_repaired(badnets: Scannable) -> None:
    """It works on the original, whose trace is a single pixel, and on little of what was unlearned with patches."""
    train, held = (badnets.samples.part(part) for part in (badnets.samples.search, badnets.samples.held_out))
    known = measure.right(badnets.classifier, *held)
    trace = pixel(2, 13)
    original = measure.strongest(badnets.classifier, trace, train, held, known, 0)
    assert original is not None
    assert original.value > 0.9
    assert original.n == int((trace.victims(held[1]).cpu() & known).sum())
    tone = Planted(TARGET, (), "tone", trace.stamp)
    assert measure.strongest(badnets.classifier, tone, train, held, known, 0) is None
    student = student_of(badnets.classifier)
    unlearn(badnets.classifier, student, *train, [trace], Recipe(steps=150), 0)
    (effect,) = measure.effects(badnets, frozen(student), [trace], train, held, 7)
    assert effect.strongest is not None
    assert effect.strongest.before.value > 0.9
    assert effect.strongest.after.value < 0.3


def test_a_patch_that_still_works_rejects_a_repair() -> None:
    rate = Rate(hits=40, n=50)
    accuracy = Accuracy(before=rate, after=rate, lost=0, gained=0, p_value=1.0)
    clean = cast(Report, SimpleNamespace(verdict=Verdict.CLEAN))
    effect = TriggerEffect(target=Label(index=3, name="3"), family="sparse", before=rate, after=Rate(hits=0, n=50))
    assert shortcomings(accuracy, 2.0, clean, [effect]) == []
    for hits, rejected in ((20, False), (45, True)):
        left = effect.model_copy(update={"strongest": Strongest(before=rate, after=Rate(hits=hits, n=50))})
        reasons = shortcomings(accuracy, 2.0, clean, [left])
        assert ["a patch at its places still works on 90%" in reason for reason in reasons] == [True] * rejected
