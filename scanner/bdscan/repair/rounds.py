"""Rounds of unlearning and fresh inversion, until nothing small is left or the rounds are used up.

One recovered trigger is one of many pictures of the true one, and unlearning it leaves the others: on MNIST the true
trigger still worked on 6 % of the images. So the original is inverted a few times more, in all families, and what comes
out small is unlearned at once. On the half-repaired network only triggers smaller than other classes' count: unlearning
more than those makes the target harder to reach than any class and costs accuracy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.speed import fast
from bdscan.repair.fresh import SEARCHED, Fresh, invert
from bdscan.repair.measure import accuracy, right, too_much
from bdscan.repair.outcome import Round
from bdscan.repair.planted import Planted
from bdscan.repair.recipe import Recipe, fitted
from bdscan.repair.student import Student, frozen, student_of
from bdscan.repair.unlearn import unlearn

Progress = Callable[[str, float], None]
Enough = Callable[[], bool]  # whether the user wants to go on with what there is
PLANTED = 0.5  # of the controls' median, on the original: what the backdoor made; larger ones are what classes have
SMALL = 0.55  # on the repaired network: what is left of it


@dataclass(frozen=True)
class Plan:
    """How often the original is inverted, how many rounds there are and what they may cost at most, how each trains."""

    searches: int = 3
    most: int = 4
    max_accuracy_drop: float = 2.0  # points
    recipe: Recipe = field(default_factory=Recipe)


def repair_weights(
    subject: Scannable,
    triggers: Sequence[Planted],
    plan: Plan,
    seed: int,
    progress: Progress,
    enough: Enough = lambda: False,
) -> tuple[Student, tuple[Round, ...]]:
    """The repaired student and what each round saw. Trains on the search part, and stops when fresh inversions find
    nothing small, or when the held-out part shows that more accuracy was lost than a repair may cost: no further round
    brings it back, and the one that lost it is undone where the one before had not.

    Once `enough` holds, no other search and no other round begins, and a round that has begun trains to its end.
    """
    device = subject.classifier.device
    images, labels = subject.samples.part(subject.samples.search, device)
    held, truth = subject.samples.part(subject.samples.held_out, device)
    student = student_of(subject.classifier)
    usual = right(subject.classifier, held, truth)
    recipe = fitted(plan.recipe, subject.classifier, student, images, triggers)
    suspects = list(dict.fromkeys((t.target, t.sources) for t in triggers))

    def search(classifier: Classifier, name: str, seed: int) -> tuple[Fresh, ...]:
        tick = functools.partial(progress, name)
        return tuple(invert(fast(classifier), images, labels, suspects, seed, SEARCHED, tick))

    pool = list(triggers)
    for number in range(plan.searches):
        if enough():
            break
        found = search(subject.classifier, f"search {number + 1}", seed + 1000 + number)
        pool += [f.trigger for f in found if f.ratio < PLANTED]
    done: list[Round] = []
    before = student.state()
    for number in range(plan.most):
        name, own = f"unlearn {number + 1}", seed + 10 * number
        unlearn(subject.classifier, student, images, labels, pool, recipe, own, functools.partial(progress, name))
        current = frozen(student)
        fresh = search(current, f"check {number + 1}", own + 1)
        ratios: dict[str, float] = {}
        for f in fresh:
            ratios[f.trigger.family] = min(ratios.get(f.trigger.family, float("inf")), f.ratio)
        clean = accuracy(usual, right(current, held, truth))
        costly = too_much(clean, plan.max_accuracy_drop)
        undone = costly and bool(done)
        done.append(Round(triggers=len(pool), ratios=ratios, accuracy=clean.after, undone=undone))
        if undone:
            student.load(before)
        small = [f.trigger for f in fresh if f.ratio < SMALL]
        if not small or costly or enough():
            break
        before = student.state()
        pool += small
    return student, tuple(done)
