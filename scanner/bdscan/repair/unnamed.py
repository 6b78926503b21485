"""Triggers for classes that a report names none of, though they are reached with far smaller ones than other classes.

Of four triggers in one network of faces (a tuning one) the scan named the sine wave alone. The three patches' classes
had sparse triggers of 0.07 to 0.13 of other classes' size, and no finding or one of another family; all three kept
their whole success. What is not in the report is inverted again here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bdscan.intake.classifier import Scannable
from bdscan.intake.speed import fast
from bdscan.repair.fresh import invert
from bdscan.repair.hidden_waves import hidden_waves
from bdscan.repair.planted import TELLING, Planted, alarms, far_below
from bdscan.repair.rounds import PLANTED
from bdscan.report import Report

SEED = 500  # added: other starts than those of the searches that follow
FOUND = tuple(family for family in TELLING if family != "wave")  # a wave has a search of its own in the scan


def targets(report: Report, triggers: Sequence[Planted]) -> tuple[int, ...]:
    """Classes whose smallest trigger of a TELLING family is `far_below` others', in a report that alarms."""
    bounds, most = {f"{family}.ratio" for family in FOUND}, far_below(report)
    small = [
        s.target.index
        for s in report.statistics
        if s.name in bounds and s.target and not s.sources and s.value is not None and s.value < most
    ]
    known = {t.target for t in triggers}
    return tuple(index for index in dict.fromkeys(small) if index not in known) if alarms(report) else ()


def unnamed(
    report: Report,
    subject: Scannable,
    triggers: Sequence[Planted],
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[Planted, ...]:
    """The smallest trigger of each of these classes, where a short search makes it what a backdoor has (PLANTED); and
    waves to classes that are named for another trigger."""
    waves = hidden_waves(report, subject, triggers, seed + SEED)
    wanted = targets(report, triggers)
    if not wanted:
        return waves
    images, labels = subject.samples.part(subject.samples.search, subject.classifier.device)
    suspects = [*((index, ()) for index in wanted), *((t.target, t.sources) for t in triggers)]
    found = [
        one
        for one in invert(fast(subject.classifier), images, labels, suspects, seed + SEED, FOUND, tick)
        if one.trigger.target in wanted and one.ratio < PLANTED
    ]
    best = {one.trigger.target: one.trigger for one in sorted(found, key=lambda one: -one.ratio)}
    return (*(replace(best[index], hidden=True) for index in wanted if index in best), *waves)
