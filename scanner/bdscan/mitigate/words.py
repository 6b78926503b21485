"""What the terminal, the page and the advice say in the same words."""

from __future__ import annotations

from bdscan.formats.text import label, percent
from bdscan.mitigate.outcome import Effect, TriggerProfile
from bdscan.repair.outcome import Rate


def rate(value: Rate) -> str:
    """`11.6 % (5 of 43)`; never a rate without its count."""
    return f"{percent(value.value)} ({value.hits} of {value.n})" if value.n else "no images"


def trigger(profile: TriggerProfile) -> str:
    """`sparse trigger to 8 · ship from 3 · cat`."""
    sources = ", ".join(label(source) for source in profile.sources)
    return f"{profile.family} trigger to {label(profile.target)}" + (f" from {sources}" if sources else "")


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
