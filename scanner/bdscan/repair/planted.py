"""From a report to the triggers that a repair unlearns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.detectors.inversion.restore import Stamp, stamp_from_parameters
from bdscan.errors import UsageError
from bdscan.report import Finding, Report, TriggerParameters

BRANCH = "BD201"  # the rule about branches in the graph
HIDDEN = 0.45  # of other classes' size: a weakness this small, in a network that alarms, is taken for one more trigger
FAR_BELOW = 0.25  # the same in another family than the weakness is shown in; 2 of the 101 clean references go below.
# Where several classes alarm it is HIDDEN: who planted two may have planted four, and they hide each other
TELLING = ("sparse", "dense", "warp", "wave")  # 29 of the 101 clean references go below that


@dataclass(frozen=True)
class Planted:
    """A trigger to unlearn.

    Attributes:
        target: the class that it sends images to.
        sources: the classes it works on; empty: all.
        family: its family's name.
        stamp: images (N, C, H, W) in [0, 1], intensity -> stamped images.
        hidden: whether no alarm but a weakness beside one names it.
    """

    target: int
    sources: tuple[int, ...]
    family: str
    stamp: Stamp
    hidden: bool = False

    def victims(self, labels: Tensor) -> Tensor:
        """bool (N,): images that the trigger is made to move."""
        use = labels != self.target
        if self.sources:
            use &= torch.isin(labels, torch.tensor(self.sources, device=labels.device))
        return use

    def on_grey(self, images: Tensor) -> Tensor:
        """What it adds to grey (C, H, W), at full intensity; `images` (N, C, H, W) tell shape and device."""
        grey = torch.full_like(images[:1], 0.5)
        return (self.stamp(grey, 1.0) - grey)[0]


def named(report: Report, weaknesses: bool = False, hidden: bool = False) -> tuple[Planted, ...]:
    """The report's triggers, alarms first; natural weaknesses too where they are asked for. Empty where it has none.

    `hidden`: of the weaknesses those that may be further triggers (`hides`).
    """
    found = []
    for finding in report.findings:
        for evidence in finding.evidence:
            if isinstance(evidence, TriggerParameters) and (
                weaknesses or not finding.weakness or (hidden and hides(report, evidence))
            ):
                sources = tuple(s.index for s in evidence.sources)
                stamp = stamp_from_parameters(evidence)
                beside = finding.weakness and not weaknesses
                found.append(Planted(evidence.target.index, sources, evidence.family, stamp, beside))
    return tuple(found)


def hides(report: Report, weakness: TriggerParameters) -> bool:
    """Whether a weakness may be one more planted trigger: another one alarms, and other classes' are far larger, in its
    own family or, farther, in another (of four on faces one was shown as a pattern of 0.46, and its patch was of 0.11).

    Those of one source class only have no such ratio and do not count.

    Several triggers hide each other: each makes the spread wider that the others are compared with, and of four (P4,
    figure 9) two were shown as weaknesses, in the scan of the repaired network too. Or the alarm names a class that is
    close by nature, and the planted one is among the weaknesses. Unlearning a natural one beside them costs little.
    """
    bounds = {f"{family}.ratio": far_below(report) for family in TELLING} | {f"{weakness.family}.ratio": HIDDEN}
    small = [
        s.value is not None and s.value < bounds[s.name]
        for s in report.statistics
        if s.name in bounds and s.target == weakness.target and s.sources == weakness.sources
    ]
    return alarms(report) and weakness.family in TELLING and any(small)


def far_below(report: Report) -> float:
    """The share of other classes' size below which a class may hide one more trigger, whatever the family."""
    return HIDDEN if len(_alarmed(report)) > 1 else FAR_BELOW


def alarms(report: Report) -> bool:
    """Whether a finding about a trigger, and no branch, alarms."""
    return bool(_alarmed(report))


def _alarmed(report: Report) -> set[int]:
    return {f.target.index for f in report.findings if not f.weakness and f.target is not None}


def branches(report: Report) -> tuple[Finding, ...]:
    """The report's findings of a branch in the graph: no weights mend it, it is to be cut."""
    return tuple(f for f in report.findings if f.rule == BRANCH and not f.weakness)


def planted(report: Report, weaknesses: bool = False) -> tuple[Planted, ...]:
    """The report's triggers, those that hide behind them too, to be unlearned; empty where it names a branch and none.

    UsageError where there is nothing to repair, or where a finding about the whole model is no branch.
    """
    found = named(report, weaknesses, hidden=True)
    to_cut = branches(report)
    others = [f for f in report.findings if not f.weakness and f.target is None and f not in to_cut]
    if others:
        raise UsageError(f"--report: {others[0].title!r} names no trigger and no branch; nothing can be done about it")
    if not found and not to_cut:
        raise UsageError(
            "--report: it names no trigger to unlearn"
            + ("; --weaknesses repairs natural weaknesses as well" if not weaknesses and named(report, True) else "")
        )
    return found
