"""What the terminal, the page and the advice say in the same words."""

from __future__ import annotations

from bdscan.formats.text import label, number, percent
from bdscan.mitigate.outcome import Choice, Effect, Profile, TriggerProfile
from bdscan.repair.outcome import Rate


def rate(value: Rate) -> str:
    """`11.6 % (5 of 43)`; never a rate without its count."""
    return f"{percent(value.value)} ({value.hits} of {value.n})" if value.n else "no images"


def trigger(profile: TriggerProfile) -> str:
    """`sparse trigger to 8 · ship from 3 · cat`."""
    sources = ", ".join(label(source) for source in profile.sources)
    return f"{profile.family} trigger to {label(profile.target)}" + (f" from {sources}" if sources else "")


def choices(profile: Profile) -> tuple[Choice, ...]:
    """The best, and the guard's where it is another."""
    best, guard = profile.advice.best, profile.advice.guard
    found = [each for each in (best, guard) if each is not None]
    return tuple(each for i, each in enumerate(found) if each not in found[:i])


def checks(profile: Profile) -> tuple[str, ...]:
    """What each chosen transformation does on images that had no say in the choice."""
    return tuple(
        f"On {choice.check.accuracy.before.n} images that had no say in the choice, {choice.effect.text}: the worst "
        f"trigger's success {rate(choice.check.worst)}, clean accuracy from {rate(choice.check.accuracy.before)} to "
        f"{rate(choice.check.accuracy.after)}."
        for choice in choices(profile)
    )


def guarded(profile: Profile) -> tuple[str, ...]:
    """How well the guarded model was checked; nothing where there is none."""
    guard = profile.guard
    if guard is None:
        return ()
    return (
        f"The guarded model applies {guard.transformation}. Its outputs on {guard.images} samples differ from those of "
        f"the original on transformed samples by {number(guard.difference)} of the largest, checked with "
        f"{guard.checked_with}.",
    )


def told(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """Of each kind the strength that is worth most: the least success and accuracy lost together."""
    kinds: dict[str, Effect] = {}
    for each in sorted(effects, key=lambda e: e.worst.value + max(e.points_lost, 0.0) / 100):
        kinds.setdefault(each.kind, each)
    return tuple(kinds.values())


def moved(profile: TriggerProfile) -> tuple[tuple[int, Rate], ...]:
    """Distance in pixels (the larger of right and down) and the success over all places at that distance."""
    rings: dict[int, list[int]] = {}
    for down, row in zip(profile.shift.down, profile.shift.hits, strict=False):
        for right, hits in zip(profile.shift.right, row, strict=False):
            rings.setdefault(max(abs(down), abs(right)), []).append(hits)
    n = profile.shift.n
    return tuple((far, Rate(hits=sum(hits), n=n * len(hits))) for far, hits in sorted(rings.items()) if far)
