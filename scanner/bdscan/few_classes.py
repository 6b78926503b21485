"""Samples of two to four classes: triggers are held to those of clean networks of as few classes, not to each other.

`rules/few-classes/` has the rules that judge then, on the size of a trigger itself, and clean networks to take p-values
from. Of five to seven outputs triggers are compared as usual, but few labels say little about each other: a fifth of
clean networks alarm. So an alarm counts only where its score is beyond those of clean networks of as few
(`rules/several-classes/`); else it is a natural weakness.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from bdscan.report import Finding, Severity
from bdscan.rules import FEW_CLASSES, Rule

LABELS = "labels"  # the metric that says of how many classes triggers are
COMPARABLE = 5  # classes; below, natural triggers are as far out among each other as planted ones (docs/design.md)
SEVERAL = 8  # outputs; below, references are of as few
SEVERAL_CLASSES = "several-classes"
LEVEL = 0.05


def held_to(rules: Path, outputs: int, few: bool) -> Path:
    """The folder of the references for a model with so many outputs; `few` where its samples have too few classes."""
    if few:
        return rules / FEW_CLASSES
    return rules / SEVERAL_CLASSES if is_several(outputs) else rules


def is_several(outputs: int) -> bool:
    return outputs < SEVERAL


def beyond(findings: Iterable[Finding], p: float, rules: Container[str]) -> list[Finding]:
    """The findings where a share `p` of clean networks of as few classes score as high by `rules` (their ids): above
    LEVEL, triggers that these found are natural."""
    return [
        finding
        if p <= LEVEL or finding.weakness or finding.target is None or finding.rule not in rules
        else finding.model_copy(
            update={
                "weakness": True,
                "confirmed": False,
                "severity": Severity.LOW,
                "title": "Natural trigger among few classes",
                "message": f"{finding.message} Clean networks of as few classes have such triggers too (p = {p:.2f}).",
                "remedy": "Look at the recovered trigger on the images; `bdscan repair --weaknesses` unlearns it.",
            }
        )
        for finding in findings
    ]


def is_read(detector: str, rules: Iterable[Rule], classes: int) -> bool:
    """Whether a rule for so few classes reads what this detector finds. What inverts nothing costs little, and runs."""
    family = detector.removeprefix("inversion.")
    if family == detector:
        return detector != "pairs"
    about = [rule for rule in rules if rule.few_classes and (not rule.families or family in rule.families)]
    return any(LABELS not in bounds or bounds[LABELS].holds(classes) for rule in about for bounds in rule.when)
