"""Rounds of unlearning and fresh inversion, until nothing small is left or the rounds are used up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bdscan.intake.classifier import Scannable
from bdscan.repair.fresh import SEARCHED, invert
from bdscan.repair.measure import right
from bdscan.repair.outcome import Rate, Round
from bdscan.repair.planted import Planted
from bdscan.repair.student import Student, frozen, student_of
from bdscan.repair.unlearn import Recipe, unlearn

Progress = Callable[[str, float], None]
ORDINARY = 0.85  # of the controls' median: from here a fresh trigger is as large as any class's


@dataclass(frozen=True)
class Plan:
    """How many rounds at least and at most, and how each trains."""

    least: int = 2
    most: int = 5
    recipe: Recipe = field(default_factory=Recipe)


def repair_weights(
    subject: Scannable, triggers: Sequence[Planted], plan: Plan, seed: int, progress: Progress
) -> tuple[Student, tuple[Round, ...]]:
    """The repaired student and what each round saw. Trains on the search part; the held-out part says when to stop."""
    device = subject.classifier.device
    images, labels = subject.samples.part(subject.samples.search, device)
    held, truth = subject.samples.part(subject.samples.held_out, device)
    student = student_of(subject.classifier)
    suspects = list(dict.fromkeys((t.target, t.sources) for t in triggers))
    pool = list(triggers)
    done: list[Round] = []
    for number in range(plan.most):
        name = f"unlearn {number + 1}"
        unlearn(
            subject.classifier,
            student,
            images,
            labels,
            pool,
            plan.recipe,
            seed + 10 * number,
            tick=lambda share, name=name: progress(name, share),  # type: ignore[misc]
        )
        current = frozen(student)
        search = f"search {number + 1}"
        fresh = invert(
            current,
            images,
            labels,
            suspects,
            seed + 10 * number + 1,
            SEARCHED,
            tick=lambda share, search=search: progress(search, share),  # type: ignore[misc]
        )
        ratios: dict[str, float] = {}
        for f in fresh:
            ratios[f.trigger.family] = min(ratios.get(f.trigger.family, float("inf")), f.ratio)
        hits = int(right(current, held, truth).sum())
        done.append(Round(triggers=len(pool), ratios=ratios, accuracy=Rate(hits=hits, n=len(truth))))
        small = [f.trigger for f in fresh if f.ratio < ORDINARY]
        if number + 1 >= plan.least and not small:
            break
        pool += small  # one as large as other classes' is no backdoor, and stamped images must stay recognisable
    return student, tuple(done)
