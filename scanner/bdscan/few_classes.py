"""Samples of two to four classes: triggers are held to those of clean networks of as few classes, not to each other.

`rules/few-classes/` has the rules that judge then, the usual size of a clean network's smallest trigger in each family,
and clean networks to take p-values from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from bdscan.detectors.inversion.trigger import Candidate
from bdscan.rules import FEW_CLASSES, Rule

USUAL = "usual.json"
COMPARABLE = 5  # classes; below, natural triggers are as far out among each other as planted ones (docs/design.md)


def usual_sizes(rules: Path) -> Mapping[str, float]:
    """By family, the median over clean networks of their smallest trigger, in the family's unit.

    Sparse triggers have about as many pixels in images of 16, 28 and 32 a side.
    """
    found = json.loads((rules / FEW_CLASSES / USUAL).read_text())
    return {str(family): float(size) for family, size in found["usual"].items()}


def is_read(detector: str, rules: Iterable[Rule]) -> bool:
    """Whether a rule for few classes reads what this detector finds. What inverts nothing costs little, and runs."""
    family = detector.removeprefix("inversion.")
    if family == detector:
        return detector != "pairs"
    return any(family in rule.families for rule in rules if rule.few_classes)


def held_to(usual: Mapping[str, float], candidate: Candidate) -> Candidate:
    """The candidate with two metrics more: the `usual` size of its family, and its own to that.

    A pair, or a family that has no usual size, stays as it is: a rule about what was not measured does not hold.
    """
    if candidate.sources or candidate.family not in usual:
        return candidate
    size = usual[candidate.family]
    return replace(candidate, metrics={**candidate.metrics, "usual": size, "size_to_usual": candidate.size / size})
