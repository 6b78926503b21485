"""From a report to the triggers that a repair unlearns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.detectors.inversion.restore import Stamp, stamp_from_parameters
from bdscan.errors import UsageError
from bdscan.report import Finding, Report, TriggerParameters

BRANCH = "BD201"  # the rule about branches in the graph


@dataclass(frozen=True)
class Planted:
    """A trigger to unlearn.

    Attributes:
        target: the class that it sends images to.
        sources: the classes it works on; empty: all.
        family: its family's name.
        stamp: images (N, C, H, W) in [0, 1], intensity -> stamped images.
    """

    target: int
    sources: tuple[int, ...]
    family: str
    stamp: Stamp

    def victims(self, labels: Tensor) -> Tensor:
        """bool (N,): images that the trigger is made to move."""
        use = labels != self.target
        if self.sources:
            use &= torch.isin(labels, torch.tensor(self.sources, device=labels.device))
        return use


def named(report: Report, weaknesses: bool = False) -> tuple[Planted, ...]:
    """The report's triggers, alarms first; natural weaknesses too where they are asked for. Empty where it has none."""
    found = []
    for finding in report.findings:
        if finding.weakness and not weaknesses:
            continue
        for evidence in finding.evidence:
            if isinstance(evidence, TriggerParameters):
                sources = tuple(s.index for s in evidence.sources)
                stamp = stamp_from_parameters(evidence)
                found.append(Planted(evidence.target.index, sources, evidence.family, stamp))
    return tuple(found)


def branches(report: Report) -> tuple[Finding, ...]:
    """The report's findings of a branch in the graph: no weights mend it, it is to be cut."""
    return tuple(f for f in report.findings if f.rule == BRANCH and not f.weakness)


def planted(report: Report, weaknesses: bool = False) -> tuple[Planted, ...]:
    """The report's triggers, to be unlearned; empty where it names a branch and none.

    UsageError where there is nothing to repair, or where a finding about the whole model is no branch.
    """
    found = named(report, weaknesses)
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
