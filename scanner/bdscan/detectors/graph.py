"""Graph check: input-dependent branches and comparisons that trained classifiers do not have.

A trigger may sit in the architecture, with clean weights: a sub-graph that looks for a pattern and switches the logits.
Values are followed, not shapes. A branch made of plain arithmetic has no comparison; in ONNX files it is known by its
silence on clean images, beside the network that it joins.
"""

from __future__ import annotations

import torch

from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.script_branches import decisions
from bdscan.intake.classifier import Scannable
from bdscan.report import Statistic

about = About(
    name="graph",
    title="Static graph check",
    needs="an ONNX or TorchScript file",
    finds="trigger branches in the architecture: comparisons and control flow from the input to the logits; in ONNX "
    "files also ways beside the network that are idle on clean images",
    misses="branches in plain arithmetic that leak on clean images or are TorchScript; anything in the weights",
    source="own",
)


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    if not has_graph(subject):
        return CouldNotRun("the file holds weights alone, no graph; the --arch code is not checked for branches")
    branches = _branches(subject)
    return Measurement(
        statistics=(
            Statistic(
                name="graph.branches",
                detector=about.name,
                value=float(len(branches)),
                description="input-dependent comparisons, control flow or idle ways that feed the logits",
            ),
        ),
        summary=(
            "no input-dependent branch feeds the logits"
            if not branches
            else f"{_operations(len(branches))} the logits: {', '.join(branches[:5])}"
        ),
    )


def _operations(count: int) -> str:
    return "1 input-dependent operation feeds" if count == 1 else f"{count} input-dependent operations feed"


def has_graph(subject: Scannable) -> bool:
    """Whether the file says what is computed, so that a clean verdict needs this check."""
    return subject.classifier.graph is not None or isinstance(subject.classifier.module, torch.jit.ScriptModule)


def _branches(subject: Scannable) -> list[str]:
    module = subject.classifier.module
    if subject.classifier.graph is None and isinstance(module, torch.jit.ScriptModule):
        return [kind[:80] for kind in decisions(module)]
    from bdscan.detectors.onnx_branches import branches  # it imports onnx, which takes a second

    return branches(subject)
