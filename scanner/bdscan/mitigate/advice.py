"""Advice: which input transformation lowers the triggers' success most, at which cost, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bdscan.detectors.wilson import wilson
from bdscan.formats.text import percent
from bdscan.mitigate.given import GIVEN
from bdscan.mitigate.outcome import Advice, Choice, Effect
from bdscan.mitigate.words import rate
from bdscan.repair.outcome import Rate

HELPS = 0.5  # of the success without it: what leaves more is not worth advising
FEW = 30  # images below which a rate is said to be rough
ADAPTIVE = (
    "An attacker who expects a transformation can train the trigger through it (the enhanced attacks of Li et al. "
    "2020, 'Rethinking the Trigger', 4.2): it then works transformed as well. The advice holds for the triggers "
    "measured here, not for others in the same model."
)
STAND_IN = (
    "The scan's triggers are what it recovered. They stand in for the attacker's own, which may be larger and "
    "survive more."
)
SUBSTITUTE = (
    "A recovered trigger of the family {families} is often a substitute of quite another kind, and then these numbers "
    "say little about the attacker's own: on a test model with a blended picture the advice lowered the recovered tone "
    "change from 100 % to 0 %, and the picture still worked on 97 %."
)
FAITHFUL = {"sparse", GIVEN}  # few pixels: what is found is near the trigger's own place and kind
NOT_A_REPAIR = (
    "The backdoor stays in the weights. Where the model can be changed, `bdscan repair` or a retraining comes first."
)


def advise(
    effects: Sequence[Effect],
    before: Rate,
    most_points: float,
    again: Callable[[Effect], Effect],
    families: Sequence[str] = (),
) -> Advice:
    """Choose among `effects` on held-out images.

    Args:
        before: success of the trigger that works best, without any transformation.
        most_points: clean accuracy that may be lost, in points; one image is always allowed.
        again: measures a chosen transformation on images that had no say in the choice.
        families: of the triggers.
    """
    best = choose(effects, before, most_points)
    guard = choose([each for each in effects if each.fixed], before, most_points)
    chosen = {each.text: Choice(effect=each, check=again(each)) for each in (best, guard) if each is not None}
    return Advice(
        summary=_summary(best, guard, effects, before, most_points),
        best=chosen[best.text] if best else None,
        guard=chosen[guard.text] if guard else None,
        warnings=(*_substitutes(families), ADAPTIVE, *_stand_in(families), NOT_A_REPAIR, *_rough(best, effects)),
    )


def choose(effects: Sequence[Effect], before: Rate, most_points: float) -> Effect | None:
    """The affordable one that leaves the worst trigger the least success; then the cheapest, then the first."""
    if not before.hits:
        return None
    affordable = [each for each in effects if affordable_loss(each, most_points)]
    best = min(affordable, key=lambda each: (each.worst.value, each.points_lost), default=None)
    return best if best is not None and best.worst.value <= HELPS * before.value else None


def affordable_loss(effect: Effect, most_points: float) -> bool:
    """Within `most_points`, or a single image."""
    images = effect.accuracy.before.hits - effect.accuracy.after.hits
    return effect.points_lost <= most_points + 1e-9 or images <= 1


def _summary(
    best: Effect | None, guard: Effect | None, effects: Sequence[Effect], before: Rate, most_points: float
) -> str:
    if not before.n:
        return "No image could try the triggers: none is of their classes and recognised. Give more images of these."
    if not before.hits:
        return f"The triggers do not work on these images: {rate(before)}. There is nothing to lower."
    if best is None:
        strongest = min(effects, key=lambda each: (each.worst.value, each.points_lost), default=None)
        said = f"No input transformation halves the success of {rate(before)} and costs at most {most_points:g} points"
        return f"{said}; the strongest costs more: {told(strongest, before)}" if strongest else said
    text = told(best, before)
    if guard is None:
        return f"{text} No transformation that a guarded model can hold does as much within {most_points:g} points."
    if guard.text == best.text:
        return f"{text} A guarded model can hold it."
    return f"{text} Of those that a guarded model can hold: {told(guard, before)}"


def told(effect: Effect, before: Rate) -> str:
    """One transformation's numbers in a sentence."""
    low, high = (percent(end) for end in wilson(effect.worst.hits, effect.worst.n))
    a = effect.accuracy
    return (
        f"{effect.text}: the worst trigger's success falls from {rate(before)} to {rate(effect.worst)} "
        f"(95 % interval {low} to {high}), clean accuracy goes from {rate(a.before)} to {rate(a.after)}."
    )


def _substitutes(families: Sequence[str]) -> tuple[str, ...]:
    others = ", ".join(sorted(set(families) - FAITHFUL))
    return (SUBSTITUTE.format(families=others),) if others else ()


def _stand_in(families: Sequence[str]) -> tuple[str, ...]:
    return () if set(families) == {GIVEN} else (STAND_IN,)


def _rough(best: Effect | None, effects: Sequence[Effect]) -> tuple[str, ...]:
    fewest = min((each.success.n for effect in effects for each in effect.triggers), default=0)
    said = []
    if best is not None:
        said.append(f"Chosen among {len(effects)} on the same held-out images, so its numbers flatter it a little.")
    if fewest < FEW:
        said.append(f"A trigger was tried on only {fewest} images: its rates are rough.")
    return tuple(said)
