"""The stages of a scan as they happen: what each left, what it took, what it could not do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from bdscan import report
from bdscan.detectors.confirmation import Confirmation
from bdscan.detectors.interface import Budget, CouldNotRun, Detector, Hints, Measurement
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.registry import TRUST
from bdscan.few_classes import COMPARABLE
from bdscan.intake.classifier import Scannable

Progress = Callable[[str, float], None]
QUICK = "What a longer search finds: the quick budget misses triggers that the standard one does not."
LONGEST = 2000  # characters of a stage's summary: it may quote names from the file
# A clean verdict means that these looked; the graph check too where the format has a graph.
NEEDED = ("inversion.sparse", "inversion.dense", "inversion.warp", "inversion.tone", "pairs", "confirmation")
AMONG_MORE = (
    f" and the model has {{outputs}}: with fewer than {COMPARABLE} a planted trigger cannot be told from a natural one;"
    " give images of more classes"
)
AMONG_FEW = (
    ": triggers are held to those of clean networks of as few, where only the smallest planted ones stand out; an alarm"
    " counts, a silence says little"
)


class Compared(Enum):
    """What the sizes of triggers are compared with."""

    EACH_OTHER = "each other"
    REFERENCES = "references"
    NOTHING = "nothing"


@dataclass
class Story:
    """What happened so far; grows stage by stage.

    Attributes:
        suspected: the candidates that were given to confirmation.
        confirmed: what became of them.
        planted: targets of confirmed universal triggers.
    """

    stages: list[report.Measured | report.Skipped | report.Failed] = field(default_factory=list)
    measured: dict[str, Measurement] = field(default_factory=dict)
    seconds: list[report.StageSeconds] = field(default_factory=list)
    suspected: list[Candidate] = field(default_factory=list)
    confirmed: list[Confirmation] = field(default_factory=list)
    planted: frozenset[int] = frozenset()

    def hints(self) -> Hints:
        """What the next stage may use: labels ranked by trust-weighted scores, the DMS mask."""
        total: dict[int, float] = {}
        for name, m in self.measured.items():
            for label, score in m.scores.items():
                total[label] = total.get(label, 0.0) + TRUST.get(name, 0.0) * min(max(score, -3.0), 6.0)
        ranking = tuple(sorted(total, key=lambda label: (-total[label], label)))
        mask = next((m.mask for m in self.measured.values() if m.mask is not None), None)
        return Hints(ranking=ranking, mask=mask, planted=self.planted)

    def timed(self, name: str, began: float) -> None:
        self.seconds.append(report.StageSeconds(name=name, seconds=round(time.perf_counter() - began, 3)))


def run_stage(story: Story, detector: Detector, subject: Scannable, budget: Budget, progress: Progress) -> None:
    """One detector; what it cannot do is a skipped stage, what goes wrong a failed one."""
    name, began = detector.about.name, time.perf_counter()
    progress(name, 0.0)
    try:
        result = detector.run(subject, budget, story.hints(), lambda share: progress(name, min(share, 0.999)))
        if isinstance(result, CouldNotRun):
            story.stages.append(report.Skipped(name=name, reason=result.reason))
        else:
            stage = report.Measured(name=name, summary=result.summary[:LONGEST], evidence=result.evidence)
            story.measured[name] = result
            story.stages.append(stage)
    except Exception as error:  # any failure of one stage must show in the report and must not end the others
        story.stages.append(report.Failed(name=name, error=one_line(error)))
    story.timed(name, began)
    progress(name, 1.0)


def compared(story: Story, outputs: int, classes: int) -> Compared:
    """What triggers are compared with, by how many outputs there are and of how many classes the samples are. Where it
    is not each other, a skipped stage says so: an alarm counts all the same, a silence says little."""
    if classes >= COMPARABLE:
        return Compared.EACH_OTHER
    against, why = (Compared.NOTHING, AMONG_MORE) if outputs > classes else (Compared.REFERENCES, AMONG_FEW)
    reason = f"the samples are of {classes} classes{why.format(outputs=outputs)}"
    story.stages.append(report.Skipped(name=report.COMPARISON, reason=reason))
    return against


def not_looked(story: Story, needed: Iterable[str], graph: bool) -> list[str]:
    """Stages that a clean verdict needs and that did not measure; a comparison that could not be made is one, and so is
    any stage that failed: nobody knows what it would have found."""
    ran = {s.name for s in story.stages if s.outcome == "measured"}
    skipped = tuple(s.name for s in story.stages if s.name == report.COMPARISON)
    failed = tuple(s.name for s in story.stages if s.outcome == "failed")
    wanted = dict.fromkeys((*needed, *(("graph",) if graph else ()), *skipped, *failed))
    return [name for name in wanted if name not in ran]


def not_examined(story: Story, budget: str) -> tuple[str, ...]:
    fixed = (
        *((QUICK,) if budget == "quick" else ()),
        "Triggers of kinds that no family here can express, such as sample-specific ones and semantic objects.",
        "Behaviour on images unlike the samples.",
        "Training data, code around the model, and other outputs than the class scores.",
    )
    skipped = [f"{s.name}: {s.reason}" for s in story.stages if s.outcome == "skipped"]
    failed = [f"{s.name} failed: {s.error}" for s in story.stages if s.outcome == "failed"]
    chosen = [f"{name}: {m.left_out}." for name, m in story.measured.items() if m.left_out]
    return (*failed, *skipped, *chosen, *fixed)


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}"
