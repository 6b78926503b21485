"""How a scan ranks among the references: by the rules that these were scanned by.

A rule may be newer than the shipped references (`rules/uncalibrated/`). What it finds counts, but nobody knows how many
of them it would alarm on: it has no part in the score that is ranked, and a report with an alarm of it has no p-value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bdscan.calibration import References
from bdscan.report import Finding
from bdscan.rules import Rule, describe_rules, load_rules


@dataclass(frozen=True)
class Held:
    """References, and what they know of the rules in force.

    Attributes:
        newer: ids of the rules that they were not scanned by.
        known: the rules as they were scanned by them; one that is replaced now alarmed wherever its successor does.
        digest: of the rules that they were scanned by, if these are still the same.
    """

    references: References
    newer: frozenset[str]
    known: tuple[Rule, ...]
    digest: str

    def explains(self, findings: Iterable[Finding]) -> bool:
        """Whether a p-value by the known rules speaks of these findings: no alarm is a newer rule's."""
        return not any(finding.rule in self.newer and not finding.weakness for finding in findings)


def held(references: References, builtin: Path, own: Iterable[str], *, few_classes: bool) -> Held:
    """What these references know of the built-in rules and the user's `own`."""
    own = tuple(own)
    rules = load_rules(builtin, own, few_classes=few_classes)
    now = describe_rules(builtin, own, few_classes=few_classes).sha256
    if references.rules == now:  # the user's own, scanned by all of them
        return Held(references, frozenset(), rules, now)
    known = load_rules(builtin, own, few_classes=few_classes, calibrated=True)
    newer = frozenset(rule.id for rule in rules) - {rule.id for rule in known}
    return Held(references, newer, known, describe_rules(builtin, own, few_classes=few_classes, calibrated=True).sha256)
