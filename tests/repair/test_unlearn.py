"""Unlearning: stamped images get their right answers back, clean ones keep theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bdscan.intake.classifier import Scannable
from bdscan.repair import measure, rounds
from bdscan.repair import unlearn as unlearning
from bdscan.repair.fresh import Fresh
from bdscan.repair.planted import Planted
from bdscan.repair.recipe import SOFT, Recipe
from bdscan.repair.student import frozen, student_of
from bdscan.repair.unlearn import apart, corrected, fooled, stamped, unlearn, unlikely
from bdscan.zoo.attacks.badnets import BadNets

TARGET = 8


def corner(images: Tensor, intensity: float) -> Tensor:
    """The fixture's own trigger (fixtures/build.py)."""
    return BadNets(target=TARGET).apply(images, intensity, np.random.default_rng(0))


@pytest.mark.parametrize("mixed", [False, True])
def test_it_removes_a_trigger_and_keeps_the_accuracy(
    badnets: Scannable, monkeypatch: pytest.MonkeyPatch, mixed: bool
) -> None:
    """Mixed precision as on a GPU, on the CPU that there is."""
    if mixed:
        monkeypatch.setattr(unlearning, "precision", lambda device: torch.autocast(device.type, torch.bfloat16))
    trigger = Planted(TARGET, (), "sparse", corner)
    train, held = (badnets.samples.part(part) for part in (badnets.samples.search, badnets.samples.held_out))
    everything = torch.ones(len(held[1]), dtype=torch.bool)
    assert measure.success(badnets.classifier, trigger, *held, everything).value > 0.9
    student = student_of(badnets.classifier)
    before = {k: v.clone() for k, v in student.network.state_dict().items()}
    unlearn(badnets.classifier, student, *train, [trigger], Recipe(steps=60), 0)
    after = frozen(student)
    assert measure.success(after, trigger, *held, everything).value < 0.1
    assert measure.right(after, *held).float().mean() > measure.right(badnets.classifier, *held).float().mean() - 0.05
    for name, value in student.network.state_dict().items():
        if "running" in name:
            assert torch.equal(value, before[name]), "batch normalisation keeps its statistics"


def test_each_image_gets_a_trigger_that_concerns_its_class() -> None:
    images, labels = torch.zeros(40, 1, 4, 4), torch.arange(40) % 4
    one = Planted(0, (1,), "sparse", lambda x, a: x + 1)
    other = Planted(2, (), "sparse", lambda x, a: x + 2)
    both, targets = stamped(images, labels, [one, other], Recipe(), torch.Generator().manual_seed(0))
    out = both.amax((1, 2, 3))
    assert set(targets[labels == 1].tolist()) == {0, 2}
    assert set(targets[labels == 2].tolist()) == {-1}
    assert set(out[labels == 0].tolist()) == {2.0}
    assert set(out[labels == 1].tolist()) == {1.0, 2.0}
    assert set(out[labels == 2].tolist()) == {0.0}
    assert set(out[labels == 3].tolist()) == {2.0}


def test_each_target_gets_as_many_images_however_many_triggers_it_has() -> None:
    images, labels = torch.zeros(900, 1, 4, 4), torch.full((900,), 3)
    many = [Planted(2, (), "sparse", lambda x, a, k=k: x + k) for k in range(1, 10)]
    wave = Planted(0, (), "wave", lambda x, a: x + 20)
    both, targets = stamped(images, labels, [*many, wave], Recipe(), torch.Generator().manual_seed(0))
    assert 380 < int((targets == 0).sum()) < 520
    each = [int((both.amax((1, 2, 3)) == k).sum()) for k in range(1, 10)]
    assert min(each) > 25, "and each trigger of a target its share"


def test_a_drop_is_tested_by_the_images_that_changed() -> None:
    before = torch.tensor([True] * 50)
    after = before.clone()
    after[:1] = False
    one = measure.accuracy(before, after)
    assert (one.lost, one.gained, one.p_value) == (1, 0, 0.5)
    after[:6] = False
    assert measure.accuracy(before, after).p_value == pytest.approx(2**-6)
    assert measure.accuracy(before, before).p_value == 1.0


def test_a_target_is_unlikely_only_where_it_was_more_likely_than_before() -> None:
    before = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]).log()
    answers = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.2, 0.8]]).log()
    targets = torch.tensor([1, 1, -1])
    assert float(unlikely(answers, before, targets)) == pytest.approx(-np.log(0.1) / 2)
    assert float(unlikely(answers, before, torch.tensor([-1, -1, -1]))) == 0


def test_where_the_backdoor_answers_on_a_clean_image_the_label_does() -> None:
    """Class 1 of sources 0 only: the second image's answer may be the backdoor's, the third's and fourth's are not."""
    answers = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]).log()
    labels = torch.tensor([0, 0, 1, 2])
    wrong = fooled(answers, labels, [Planted(1, (0,), "sparse", corner)])
    assert wrong.tolist() == [False, True, False, False]
    out = corrected(answers, labels, wrong)
    assert torch.equal(out[[0, 2, 3]], answers[[0, 2, 3]])
    assert out[1].argmax() == 0
    assert float(out[1].exp().sum()) == pytest.approx(1)
    assert fooled(answers, labels, [Planted(1, (), "sparse", corner)]).tolist() == [False, True, False, True]


def test_what_the_backdoor_answers_on_clean_images_is_not_learned_again(badnets: Scannable) -> None:
    """All images look like the trigger by themselves: the original names the target on them, stamped or not."""
    images, labels = badnets.samples.part(badnets.samples.search)
    student = student_of(badnets.classifier)
    same = Planted(TARGET, (), "sparse", lambda x, intensity: x)
    unlearn(badnets.classifier, student, corner(images, 1.0), labels, [same], Recipe(steps=60), 0)
    held, truth = badnets.samples.part(badnets.samples.held_out)
    rate = measure.success(frozen(student), Planted(TARGET, (), "sparse", corner), held, truth, truth >= 0)
    assert rate.value < 0.2


def test_softened_answers_show_that_a_target_has_become_less_likely() -> None:
    """A class that was never likely falls by ten logits: hardly any divergence, unless the answers are softened."""
    before = torch.tensor([[8.0, 0.0, 0.0]]).log_softmax(1)
    now = torch.tensor([[8.0, 0.0, -10.0]]).log_softmax(1)
    assert float(apart(now, before, 1.0)) < 0.005
    assert float(apart(now, before, SOFT)) > 0.5
    assert float(apart(before, before, SOFT)) == pytest.approx(0, abs=1e-6)


def test_once_it_is_enough_no_search_and_no_other_round_begins(badnets: Scannable, monkeypatch) -> None:
    """`small` is never empty: without `enough` all rounds would run."""
    trained: list[int] = []
    found = Fresh(Planted(TARGET, (), "sparse", corner), 0.1)
    monkeypatch.setattr(rounds, "unlearn", lambda *given: trained.append(len(given[4])))
    monkeypatch.setattr(rounds, "invert", lambda *given: [found])
    given = (badnets, [found.trigger], rounds.Plan(), 0, lambda stage, share: None)
    _, done = rounds.repair_weights(*given, enough=lambda: True)
    assert (len(done), trained) == (1, [1])
    _, done = rounds.repair_weights(*given)
    assert (len(done), trained[1]) == (rounds.Plan().most, 1 + rounds.Plan().searches)


def test_no_other_round_begins_once_too_much_accuracy_is_lost(badnets: Scannable, monkeypatch) -> None:
    """`small` is never empty, and the first round forgets everything."""
    found = Fresh(Planted(TARGET, (), "sparse", corner), 0.1)

    def forget(teacher, student, *given: object) -> None:
        for weight in student.weights:
            weight.data.zero_()

    monkeypatch.setattr(rounds, "unlearn", forget)
    monkeypatch.setattr(rounds, "invert", lambda *given: [found])
    given = (badnets, [found.trigger])
    for most, expected in ((2.0, 1), (100.0, rounds.Plan().most)):
        plan = rounds.Plan(max_accuracy_drop=most)
        assert len(rounds.repair_weights(*given, plan, 0, lambda stage, share: None)[1]) == expected


def test_a_round_that_costs_too_much_is_undone_where_the_one_before_did_not(badnets: Scannable, monkeypatch) -> None:
    found = Fresh(Planted(TARGET, (), "sparse", corner), 0.1)
    begun: list[float] = []

    def worse(teacher, student, *given: object) -> None:
        """The first round changes nearly nothing, the second forgets everything."""
        begun.append(float(student.weights[0].detach().sum()))
        for weight in student.weights:
            weight.data.mul_(0.999 if len(begun) == 1 else 0)

    monkeypatch.setattr(rounds, "unlearn", worse)
    monkeypatch.setattr(rounds, "invert", lambda *given: [found])
    student, done = rounds.repair_weights(badnets, [found.trigger], rounds.Plan(), 0, lambda stage, share: None)
    assert [each.undone for each in done] == [False, True]
    assert done[1].accuracy.hits < done[0].accuracy.hits
    assert float(student.weights[0].detach().sum()) == pytest.approx(0.999 * begun[0])
