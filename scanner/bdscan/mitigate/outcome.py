"""What a profile says: the values of its JSON report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bdscan.repair.outcome import Accuracy, Rate
from bdscan.report import Count, Digest, FileDigest, Isolation, Label, Name, Text, Tool, Value


class Point(Value):
    """A changed trigger's success. `value`: what was varied, e.g. the opacity; `name`: the same in words."""

    name: Name
    value: float
    success: Rate


class Shift(Value):
    """A moved trigger's success: `hits[row][column]` of `n` at `down[row]` and `right[column]` pixels."""

    right: tuple[int, ...]
    down: tuple[int, ...]
    hits: tuple[tuple[Count, ...], ...]
    n: Count


class TriggerProfile(Value):
    """A trigger of the report, on held-out images of its sources that the model gets right."""

    target: Label
    sources: tuple[Label, ...] = ()
    family: Name
    success: Rate
    opacity: tuple[Point, ...]
    size: tuple[Point, ...]
    colour: tuple[Point, ...]
    shift: Shift


class Disturbed(Value):
    """A trigger under an input transformation.

    Attributes:
        success: stamped images that go to the target.
        recovered: stamped images that get their own class (robust accuracy).
        without: images without the trigger that go to the target all the same.
    """

    success: Rate
    recovered: Rate
    without: Rate


class Effect(Value):
    """One input transformation: what it costs and what it does to each trigger, in the profile's order of triggers.

    `fixed`: a guarded model can hold it.
    """

    kind: Name
    strength: float
    text: Name
    fixed: bool
    accuracy: Accuracy  # of all held-out images, without and with the transformation
    triggers: tuple[Disturbed, ...]

    @property
    def worst(self) -> Rate:
        """The success of the trigger that survives best."""
        return max((each.success for each in self.triggers), key=lambda rate: rate.value, default=Rate(hits=0, n=0))

    @property
    def points_lost(self) -> float:
        return 100 * (self.accuracy.before.value - self.accuracy.after.value)


class Choice(Value):
    """A transformation chosen by its numbers on held-out images, and the same on images that had no say in it.

    On those, the search part, the triggers were found, so their success there is rather too high than too low.
    """

    effect: Effect
    check: Effect


class Advice(Value):
    """`best` of all transformations that cost little enough accuracy, `guard` of the fixed ones; None: none helps."""

    summary: Text
    best: Choice | None = None
    guard: Choice | None = None
    warnings: tuple[Text, ...] = ()


class Guard(Value):
    """A model that transforms its own input. `difference`: the largest between its outputs and the model's on
    transformed samples, relative to the largest output; `checked_with` did the comparison on `images` samples.
    `sidecar`: its weights file, where an ONNX graph has one."""

    transformation: Name
    file: FileDigest
    sidecar: FileDigest | None = None
    format: Name
    difference: Annotated[float, Field(ge=0)]
    checked_with: Name
    images: Count


class Profile(Value):
    """The report of one profile. `guard_error`: why an advised guard could not be written."""

    schema_version: Literal["1.0"] = "1.0"
    tool: Tool
    files: tuple[FileDigest, ...]
    report_digest: Digest
    shape: tuple[Count, Count, Count]  # C, H, W
    accuracy: Rate
    triggers: Annotated[tuple[TriggerProfile, ...], Field(max_length=64)]
    effects: Annotated[tuple[Effect, ...], Field(max_length=1000)]
    advice: Advice
    guard: Guard | None = None
    guard_error: Text | None = None
    not_measured: tuple[Text, ...] = ()
    isolation: Isolation
    settings: dict[str, str | int | float | bool | None]
    seconds: Annotated[float, Field(ge=0)]
