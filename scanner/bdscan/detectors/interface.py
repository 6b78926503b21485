"""What a detector is: a description of itself, and a function from a subject to numbers and evidence.

A detector measures. It never says "backdoor": the calibration turns its numbers into p-values, and rules turn those
into findings. Detectors do not import each other; what a later one may use of an earlier one crosses in `Hints`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from bdscan.detectors.inversion.trigger import Candidate
from bdscan.intake.classifier import Scannable
from bdscan.report import Evidence, Statistic

BudgetName = Literal["quick", "standard", "thorough"]
Progress = Callable[[float], None]  # share done, 0..1


@dataclass(frozen=True)
class Budget:
    """How much work a scan may do, in iterations and images, never in seconds."""

    name: BudgetName
    seed: int = 0


@dataclass(frozen=True)
class Hints:
    """What earlier stages leave for later ones.

    Attributes:
        ranking: labels, most suspicious first, by the cheap stages (empty: none ran).
        mask: the DMS mask E (1, H, W) in [0, 1], or None.
        planted: targets of universal triggers that confirmation has settled; no later stage need look at them.
    """

    ranking: tuple[int, ...] = ()
    mask: Tensor | None = None
    planted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Measurement:
    """What a detector returns when it ran; `left_out` says in words what it did not look at, if it chose."""

    statistics: tuple[Statistic, ...]
    evidence: tuple[Evidence, ...] = ()
    summary: str = ""
    scores: Mapping[int, float] = field(default_factory=dict)  # label -> suspicion, larger is more suspicious
    mask: Tensor | None = None
    candidates: tuple[Candidate, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class CouldNotRun:
    """A detector that does not apply here, and why; shown in every format."""

    reason: str


@dataclass(frozen=True)
class About:
    """The one place where a detector describes itself (`bdscan detectors` prints it)."""

    name: str
    title: str
    needs: str
    finds: str
    misses: str
    source: str


class Detector(Protocol):
    @property
    def about(self) -> About: ...

    def run(
        self, subject: Scannable, budget: Budget, hints: Hints, progress: Progress
    ) -> Measurement | CouldNotRun: ...
