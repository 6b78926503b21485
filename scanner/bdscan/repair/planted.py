"""From a report to the triggers that a repair unlearns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.detectors.inversion.restore import Stamp, stamp_from_parameters
from bdscan.errors import UsageError
from bdscan.report import Report, TriggerParameters


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


def planted(report: Report, weaknesses: bool = False) -> tuple[Planted, ...]:
    """The report's triggers, to be unlearned.

    UsageError where there is nothing to unlearn, or where the finding is a branch in the graph: weights cannot mend it.
    """
    found = named(report, weaknesses)
    branches = [f for f in report.findings if not f.weakness and f.target is None]
    if branches:
        raise UsageError(
            f"--report: {branches[0].title!r} is not in the weights, so unlearning cannot repair it; "
            "rebuild the graph from a trusted architecture with these weights"
        )
    if not found:
        raise UsageError(
            "--report: it names no trigger to unlearn"
            + ("" if weaknesses else "; --weaknesses repairs natural weaknesses as well")
        )
    return found
