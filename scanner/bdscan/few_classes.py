"""Samples of two to four classes: triggers are held to those of clean networks of as few classes, not to each other.

`rules/few-classes/` has the rules that judge then, on the size of a trigger itself, and clean networks to take p-values
from.
"""

from __future__ import annotations

from collections.abc import Iterable

from bdscan.rules import Rule

LABELS = "labels"  # the metric that says of how many classes triggers are
COMPARABLE = 5  # classes; below, natural triggers are as far out among each other as planted ones (docs/design.md)


def is_read(detector: str, rules: Iterable[Rule], classes: int) -> bool:
    """Whether a rule for so few classes reads what this detector finds. What inverts nothing costs little, and runs."""
    family = detector.removeprefix("inversion.")
    if family == detector:
        return detector != "pairs"
    about = [rule for rule in rules if rule.few_classes and family in rule.families]
    return any(LABELS not in bounds or bounds[LABELS].holds(classes) for rule in about for bounds in rule.when)
