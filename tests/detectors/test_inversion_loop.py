"""The inversion loop on a linear network whose smallest trigger is one planted pixel."""

from __future__ import annotations

import pytest
import torch
from planted import CLASSES, DIM, PLANTED, SHAPE, TARGET, every_target, subject
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.families import FAMILIES, sparse

SPARSE = FAMILIES["sparse"]
OTHERS = [k for k in range(CLASSES) if k != TARGET]


def search(iterations: int = 80, family: str = "sparse", planted: float = 30.0, **options: object) -> loop.State:
    toy = subject(planted)
    state = loop.begin(FAMILIES[family], CLASSES, SHAPE, 0, torch.device("cpu"))
    task = every_target(toy)
    return loop.advance(toy.classifier, FAMILIES[family], task, state, iterations, 8, 1, **options)  # type: ignore[arg-type]


def same(a: loop.State, b: loop.State) -> bool:
    return all(
        torch.equal(a.best[k], b.best[k]) and torch.equal(a.parameters[k], b.parameters[k]) for k in a.best
    ) and (torch.equal(a.size, b.size) and torch.equal(a.reached, b.reached))


def test_the_planted_pixel_is_the_target_s_trigger_and_the_others_need_more() -> None:
    state = search(200)
    change = sparse.change(state.best)[TARGET, 0]
    assert divmod(int(change.abs().argmax()), 8) == PLANTED
    assert change[PLANTED] > 0.3, "30 times this is more than the 11.2 that a class wins by"
    assert state.success[TARGET] >= 0.9
    assert state.size[TARGET] < 0.5 * min(state.size[k] for k in OTHERS)


def test_its_clean_twin_has_no_such_target() -> None:
    state = search(200, planted=0.0)
    assert state.size[TARGET] > 0.7 * min(state.size[k] for k in OTHERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_bits(family: str) -> None:
    assert same(search(12, family), search(12, family))


def test_chunks_change_nothing_but_rounding() -> None:
    """One row at a time or all at once: rows do not see each other."""
    whole, parts = search(20), search(20, chunk=8)
    for k in whole.parameters:
        assert torch.allclose(whole.parameters[k], parts.parameters[k], atol=1e-4)


def test_a_row_gives_what_it_gives_alone() -> None:
    """Without random draws of images (all are used) a row's result does not depend on its neighbours."""
    toy = subject()
    task = every_target(toy)
    images = int(task.allowed.sum(1)[0])
    keep = torch.tensor([TARGET])
    start = loop.begin(SPARSE, CLASSES, SHAPE, 0, torch.device("cpu"))
    together = loop.advance(toy.classifier, SPARSE, task, start, 16, images, 1)
    alone = loop.advance(toy.classifier, SPARSE, task.only(keep), start.only(keep), 16, images, 1)
    for k in alone.parameters:
        assert torch.allclose(alone.parameters[k][0], together.parameters[k][TARGET], atol=1e-4)


def test_draw_takes_allowed_images_and_repeats_only_where_there_are_too_few() -> None:
    allowed = torch.rand(6, 20, generator=torch.Generator().manual_seed(0)) < 0.5
    allowed[0] = False
    allowed[0, [3, 11]] = True
    index = loop.draw(allowed, 5, torch.Generator().manual_seed(1))
    assert index.shape == (6, 5)
    assert allowed.gather(1, index).all()
    assert set(index[0].tolist()) == {3, 11}
    for row in range(1, 6):
        assert len(set(index[row].tolist())) == min(5, int(allowed[row].sum()))


def test_draw_gives_every_allowed_image_its_turn() -> None:
    allowed = torch.tensor([[True, False, True, True, True]])
    generator = torch.Generator().manual_seed(0)
    seen = torch.cat([loop.draw(allowed, 1, generator) for _ in range(400)]).flatten().bincount(minlength=5)
    assert seen[1] == 0
    assert (seen[[0, 2, 3, 4]] > 60).all()


def test_a_later_rung_goes_on_and_the_best_never_grows() -> None:
    toy = subject()
    task, keep = every_target(toy), torch.tensor([TARGET, 0])
    first = loop.advance(
        toy.classifier, SPARSE, task, loop.begin(SPARSE, CLASSES, SHAPE, 0, torch.device("cpu")), 80, 8, 1
    )
    later = loop.advance(toy.classifier, SPARSE, task.only(keep), first.only(keep), 80, 8, 2)
    assert later.step == 160
    assert (later.size <= first.size[keep]).all()
    assert (later.reached >= first.reached[keep]).all()
    assert later.size[0] < first.size[TARGET], "eighty more steps shrink the planted trigger"
    for k in first.parameters:
        moved = (later.parameters[k] - first.parameters[k][keep]).abs().max()
        restarted = (later.parameters[k] - loop.begin(SPARSE, 2, SHAPE, 0, torch.device("cpu")).parameters[k]).abs()
        assert 0 < moved < restarted.max()


def test_advance_leaves_the_state_it_started_from_alone() -> None:
    toy = subject()
    state = loop.begin(SPARSE, CLASSES, SHAPE, 0, torch.device("cpu"))
    before = {k: v.clone() for k, v in state.parameters.items()}
    loop.advance(toy.classifier, SPARSE, every_target(toy), state, 8, 8, 1)
    assert all(torch.equal(before[k], state.parameters[k]) for k in before)
    assert state.size.isinf().all()
    assert all(not v.any() for moments in state.moments for v in moments.values())


def test_best_is_what_its_size_and_success_say() -> None:
    """The kept parameters measure as reported and work on most images of other classes (success is a running mean)."""
    state, toy = search(120), subject()
    x, y = toy.samples.part(toy.samples.search)
    found = state.size.isfinite()
    assert found.any()
    assert torch.allclose(SPARSE.measure(state.best)[found], state.size[found])
    stamped = SPARSE.stamp(state.best, x.expand(CLASSES, -1, -1, -1, -1), 1.0)
    for k in found.nonzero()[:, 0].tolist():
        rate = (toy.classifier.predict(stamped[k][y != k]).argmax(1) == k).float().mean()
        assert rate > 0.5


def test_nothing_counts_as_found_where_the_target_cannot_be_reached() -> None:
    toy = subject()
    never = torch.zeros(CLASSES)
    never[TARGET] = -1e4
    state = loop.advance(
        lambda x: toy.classifier(x) + never,
        SPARSE,
        every_target(toy),
        loop.begin(SPARSE, CLASSES, SHAPE, 0, torch.device("cpu")),
        60,
        8,
        1,
    )
    assert state.size[TARGET].isinf()
    assert state.reached[TARGET] == 0


def test_a_mask_confines_the_change() -> None:
    """The gradient outside is zero, and so the network never sees a change there."""
    mask = torch.ones(1, 8, 8)
    mask[0, PLANTED[0], PLANTED[1]] = 0
    seen: list[Tensor] = []
    toy = subject()

    def watch(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return toy.classifier(images)

    start = loop.begin(SPARSE, CLASSES, SHAPE, 0, torch.device("cpu"))
    masked = loop.advance(watch, SPARSE, every_target(toy), start, 80, 8, 1, mask=mask)
    values = torch.cat(seen)[:, 0, PLANTED[0], PLANTED[1]]
    assert torch.equal(values, torch.full_like(values, DIM))
    assert masked.size[TARGET] > 1.5 * search(80).size[TARGET]


def test_a_drawn_intensity_makes_a_stronger_trigger() -> None:
    """A trigger that works at 0.4 to 1 of itself is larger than one that works at 1 (P0, 5.2)."""
    plain, drawn = search(150), search(150, drawn=(0.4, 1.0))
    assert drawn.size[TARGET] > 1.2 * plain.size[TARGET]


def test_adam_is_torch_s_with_short_memories() -> None:
    """Without a penalty and with fixed images the loop's steps are `torch.optim.Adam`'s."""
    toy = subject()
    task = every_target(toy)
    images = int(task.allowed.sum(1)[0])
    start = loop.begin(SPARSE, CLASSES, SHAPE, 0, torch.device("cpu"))
    ours = loop.advance(toy.classifier, SPARSE, task, start, 6, images, 1, adjust=10**9)
    leaf = {k: v.clone().requires_grad_() for k, v in start.parameters.items()}
    optimiser = torch.optim.Adam(leaf.values(), SPARSE.learning_rate, betas=(0.5, 0.9))
    clean = torch.stack([task.pool[row] for row in task.allowed])
    wanted = task.targets.repeat_interleave(images)
    for _ in range(6):
        stamped = SPARSE.stamp(leaf, clean, 1.0).flatten(0, 1)
        loss = F.cross_entropy(toy.classifier(stamped), wanted, reduction="sum") / images
        optimiser.zero_grad()
        (loss + SPARSE.weight * SPARSE.penalty(leaf).sum()).backward()
        optimiser.step()
    for k in leaf:
        assert torch.allclose(ours.parameters[k], leaf[k].detach(), atol=2e-3)
