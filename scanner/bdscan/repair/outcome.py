"""What a repair came to: the values of its own JSON report."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from bdscan.detectors.wilson import wilson
from bdscan.report import Count, Digest, FileDigest, Label, Name, Report, Share, Text, Tool, Value, Verdict

Images = Annotated[int, Field(ge=0, le=10**9)]
SIGNIFICANT: Final = 0.05  # of the paired test: a drop of clean accuracy with a smaller p is no chance

# What names of files end in: weights beside an ONNX graph, a result that failed its own check, the account.
SIDECAR, REJECTED, ACCOUNT = ".data", ".rejected", ".repair.json"


class Rate(Value):
    """`hits` of `n`."""

    hits: Images
    n: Images

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.hits > self.n:
            raise ValueError("more hits than there are images")
        return self

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval."""
        return wilson(self.hits, self.n)


class Strongest(Value):
    """Success on held-out images of the strongest patch at a trigger's places, or of the strongest warp or pattern of
    up to twice its size, searched anew on each of both models."""

    before: Rate
    after: Rate


class TriggerEffect(Value):
    """A trigger's success on held-out images of its sources, before and after the repair.

    `strongest`: only for sparse triggers of few pixels, warps and dense patterns, see `repair.sharpen`.
    """

    target: Label
    sources: tuple[Label, ...] = ()
    family: Name
    before: Rate
    after: Rate
    strongest: Strongest | None = None

    @property
    def strongest_kind(self) -> str:
        """What `strongest` is about, in words."""
        driven = {"warp": "warp of up to twice its size", "dense": "pattern of up to twice its size"}
        return driven.get(self.family, "patch at its places")


class Accuracy(Value):
    """Clean accuracy on held-out images. `p_value`: one-sided exact sign test on the images that changed."""

    before: Rate
    after: Rate
    lost: Count
    gained: Count
    p_value: Share

    @property
    def significant(self) -> bool:
        """Whether chance does not explain the losses."""
        return self.p_value < SIGNIFICANT


class Relearn(Value):
    """Success of the recovered trigger after a short fine-tuning on a few poisoned images.

    Attributes:
        before: of the repaired model as it is.
        after: after `steps` steps with `poisoned` images.
        elsewhere: the same with the same trigger for classes that no trigger led to, all together: what a backdoor that
            never was there reaches. Absent where there is no such class.
    """

    steps: Count
    poisoned: Count
    before: Rate
    after: Rate
    elsewhere: Rate | None = None


class Distance(Value):
    """Mean trigger size in pixels over `pairs` of classes (P1, L.1). `increase`: mean of each pair's relative one."""

    pairs: Annotated[int, Field(ge=1, le=10**6)]
    before: Annotated[float, Field(ge=0)]
    after: Annotated[float, Field(ge=0)]
    increase: Annotated[float, Field(ge=-1)]


class Round(Value):
    """One round of unlearning.

    Attributes:
        ratios: for each family the smallest fresh trigger's size to that of ordinary ones.
        accuracy: held-out, after the round.
        undone: it cost more accuracy than a repair may, and the one before it had not.
    """

    triggers: Count
    ratios: dict[Name, float]
    accuracy: Rate
    undone: bool = False


class Switch(Value):
    """A value of the graph that was made constant. All but `constant` are the file's own words, bounded.

    Attributes:
        made_by: the operator that computed it.
        used_by: the operators that it switched.
        constant: what it is now, as on every clean image.
    """

    value: Name
    made_by: Name
    used_by: tuple[Name, ...]
    constant: Name


class Cut(Value):
    """Branches that were cut out of a graph. Every output on the clean images is bit by bit the original's.

    Attributes:
        switches: the first of them, `count` in all.
        removed: how many fewer nodes the graph has.
        images: clean images compared, search and held-out.
    """

    switches: tuple[Switch, ...]
    count: Count
    removed: Count
    images: Images


class Repair(Value):
    """The report of one repair. `reasons` say why a repaired model was rejected.

    Where the graph's branches were cut, `cut` says how; `rounds` and `relearn` are empty where no weights were changed.
    `distance` is measured where natural weaknesses were to be unlearned too. `between` is the scan of a first result
    that still alarmed: what it names was unlearned as well, and comes first among `triggers`.
    """

    schema_version: Literal["1.0"] = "1.0"
    tool: Tool
    outcome: Literal["repaired", "rejected"]
    reasons: tuple[Text, ...] = ()
    summary: Text
    source: FileDigest
    result: FileDigest | None = None
    report_digest: Digest
    accuracy: Accuracy
    triggers: tuple[TriggerEffect, ...]
    relearn: Relearn | None = None
    distance: Distance | None = None
    rounds: tuple[Round, ...]
    cut: Cut | None = None
    before: Report
    between: Report | None = None
    after: Report
    settings: dict[str, str | int | float | bool | None]
    seconds: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _repaired_means_clean(self) -> Self:
        if self.outcome == "repaired" and (self.reasons or self.after.verdict is not Verdict.CLEAN):
            raise ValueError("repaired, although the second scan is not clean or there are reasons against it")
        return self
