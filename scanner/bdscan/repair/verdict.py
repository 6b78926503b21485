"""Whether a repair worked, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from bdscan.repair.measure import points, too_much
from bdscan.repair.mend import WORKS
from bdscan.repair.outcome import Accuracy, Cut, TriggerEffect
from bdscan.repair.write import MODULE
from bdscan.report import Report, Verdict

MEASURED, FEWER = 10, 5  # clean images a class of the tables of repairs
LEFT = 0.5  # of the held-out images: a recovered trigger that works on more of them was not unlearned
STRONGEST_LEFT = 0.75  # the same of the strongest one like it, which reaches 0.6 for other classes (docs/design.md)


def shortcomings(
    accuracy: Accuracy,
    most_points: float,
    after: Report,
    alarms: Sequence[TriggerEffect] = (),
    weaknesses: Sequence[TriggerEffect] = (),
) -> list[str]:
    """Why the repair is rejected; empty if it is not.

    Args:
        alarms: the effects on the triggers that alarmed.
        weaknesses: those on weaknesses that were unlearned as well, as hidden triggers or because that was asked for.
    """
    reasons = []
    if after.verdict is not Verdict.CLEAN:
        reasons.append(f"the repaired model is still {after.verdict.value}: {after.summary}")
    for each in alarms:
        name = f"the {each.family} trigger to class {each.target.index}"
        if not each.before.n:
            reasons.append(f"{name} could not be tried: no held-out image of its classes that the original gets right")
        elif each.after.value > LEFT:
            reasons.append(f"{name} still works on {each.after.value:.0%} of the held-out images")
        left = each.strongest.after if each.strongest is not None else None
        if left is not None and left.value > STRONGEST_LEFT:
            reasons.append(
                f"beside {name}, a {each.strongest_kind} still works on {left.value:.0%} of the held-out images"
            )
    for each in weaknesses:  # the strongest ones like them are natural, and stay
        name = f"the weakness of class {each.target.index} ({each.family}), unlearned as well,"
        if not each.before.n:
            reasons.append(f"{name} could not be tried: no held-out image of its classes that the original gets right")
        elif each.after.value > LEFT:
            reasons.append(f"{name} still works on {each.after.value:.0%} of the held-out images")
    if too_much(accuracy, most_points):
        reasons.append(
            f"clean accuracy fell by {points(accuracy):.1f} points on {accuracy.before.n} held-out images "
            f"(more than {most_points:g}, p = {accuracy.p_value:.3f})"
        )
    return reasons


def summary(
    effects: Sequence[TriggerEffect],
    accuracy: Accuracy,
    most_points: float,
    before: Report,
    after: Report,
    *,
    cut: Cut | None,
    trained: bool,
    between: Report | None,
    images: int,
    per_class: int = MEASURED,
) -> str:
    """What a repair came to, where nothing was wrong with it.

    Args:
        trained: whether weights were changed.
        between: the scan of a first result, whose alarms were unlearned as well.
        images: clean images that this repair was given.
        per_class: of a class in the middle.
    """
    said = []
    if cut is not None:
        when = "and before weights were trained, " if trained else ""
        said.append(
            f"The graph's branch was cut, and {when}on all {cut.images} clean images every output is the original's."
        )
    tried = [each for each in effects if each.before.n]
    worked = [each for each in tried if each.before.value > WORKS]
    if worked:
        best = max(worked, key=lambda each: (each.before.value - each.after.value, each.before.value))
        went = "fell" if best.after.value < best.before.value else "went"
        said.append(
            f"The success of the trigger to class {best.target.index} {went} from {best.before.value:.0%} to"
            f" {best.after.value:.0%}."
        )
        if len(tried) > 1:
            most = max(each.after.value for each in tried if each is not best)
            said.append(f"Of the {len(tried)} triggers no other now works on more than {most:.0%}.")
    elif tried:
        said.append("None of the triggers worked on the held-out images, before or after.")
    if len(tried) < len(effects):
        lacking = sorted({each.target.index for each in effects if not each.before.n})
        said.append(f"No held-out image could try the triggers to {_classes(lacking)}.")
    if between is not None:
        said.append(f"A first result still alarmed ({between.summary.rstrip('.')}), so that was unlearned too.")
    if points(accuracy) > most_points:
        said.append(
            f"Clean accuracy fell by {points(accuracy):.1f} points; on {accuracy.before.n} held-out images that may be"
            " chance: give more to know."
        )
    if before.subject.format == MODULE:
        said.append("Written as a state_dict.")
    weak = any(finding.weakness for finding in after.findings)
    said.append("A new scan finds nothing but natural weaknesses." if weak else "A new scan finds nothing.")
    if images < before.samples.count:
        said.append(f"It had {images} clean images, the first scan {before.samples.count}: it sees less than that one.")
    if per_class < FEWER:
        said.append(f"It had {per_class} clean images a class; of repairs with fewer than {FEWER} nothing is known.")
    elif per_class < MEASURED:
        said.append(
            f"It had {per_class} clean images a class; the rates in docs/repairs.md are with {MEASURED}, those in"
            f" docs/repairs-five.md with {FEWER}."
        )
    return " ".join(said)


def _classes(indices: Sequence[int]) -> str:
    return ("class " if len(indices) == 1 else "classes ") + ", ".join(map(str, indices))
