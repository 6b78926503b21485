"""A profile as one page, with the parts and the escaping of a report's."""

from __future__ import annotations

from collections.abc import Sequence

from bdscan.formats.page import environment
from bdscan.mitigate import words
from bdscan.mitigate.outcome import Effect, Point, Profile, TriggerProfile
from bdscan.report import Curve, Line


def render(profile: Profile) -> str:
    """HTML without scripts or network. The same profile gives the same bytes."""
    return (
        environment()
        .get_template("profile.html.j2")
        .render(
            profile=profile,
            rate=words.rate,
            name=words.trigger,
            checks=words.checks,
            guarded=words.guarded,
            curves=curves,
            under=under,
            shares=shares,
        )
    )


def curves(trigger: TriggerProfile) -> tuple[Curve, ...]:
    """Success over opacity and over size."""
    return (
        _curve("Opacity", "opacity, 1 as it is", trigger.opacity),
        _curve("Size", "width and height, 1 as it is", trigger.size),
    )


def _curve(title: str, x: str, points: Sequence[Point]) -> Curve:
    line = Line(name="success", y=tuple(point.success.value for point in points), highlighted=True)
    return Curve(title=title, x_label=x, y_label="share of images", x=tuple(p.value for p in points), lines=(line,))


def shares(trigger: TriggerProfile) -> tuple[tuple[float, ...], ...]:
    """Of the heat map."""
    return tuple(tuple(hits / max(trigger.shift.n, 1) for hits in row) for row in trigger.shift.hits)


def under(profile: Profile) -> tuple[Curve, ...]:
    """For each kind of transformation with several strengths: each trigger's success, and clean accuracy beside it."""
    kinds: dict[str, list[Effect]] = {}
    for effect in profile.effects:
        kinds.setdefault(effect.kind, []).append(effect)
    return tuple(_under(profile, kind, found) for kind, found in kinds.items() if len(found) > 1)


def _under(profile: Profile, kind: str, effects: Sequence[Effect]) -> Curve:
    ordered = sorted(effects, key=lambda effect: effect.strength)
    lines = [Line(name="clean accuracy", y=tuple(e.accuracy.after.value for e in ordered))]
    for i, trigger in enumerate(profile.triggers):
        values = tuple(e.triggers[i].success.value if i < len(e.triggers) else None for e in ordered)
        lines.append(Line(name=words.trigger(trigger), y=values, highlighted=True))
    x = tuple(effect.strength for effect in ordered)
    return Curve(title=kind, x_label=UNITS.get(kind, "strength"), y_label="share of images", x=x, lines=tuple(lines))


UNITS = {
    "shrink-pad": "pixels",
    "blur": "sigma, pixels",
    "rescale down": "factor",
    "rescale up": "factor",
    "rotate": "degrees",
    "jpeg": "quality",
    "noise": "standard deviation, of 255",
    "brightness": "factor",
    "contrast": "factor",
    "saturation": "factor",
    "depth": "bits a channel",
}
