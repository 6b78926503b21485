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
        digest: of the rules that they were scanned by, if these are still the same.
    """

    references: References
    newer: frozenset[str]
    digest: str

    def known(self, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        return tuple(rule for rule in rules if rule.id not in self.newer)

    def explains(self, findings: Iterable[Finding]) -> bool:
        """Whether a p-value by the known rules speaks of these findings: no alarm is a newer rule's."""
        return not any(finding.rule in self.newer and not finding.weakness for finding in findings)


def held(references: References, builtin: Path, own: Iterable[str], *, few_classes: bool) -> Held:
    """What these references know of the built-in rules and the user's `own`."""
    own = tuple(own)
    now = describe_rules(builtin, own, few_classes=few_classes).sha256
    if references.rules == now:  # the user's own, scanned by all of them
        return Held(references, frozenset(), now)
    old = {rule.id for rule in load_rules(builtin, own, few_classes=few_classes, calibrated=True)}
    newer = frozenset(rule.id for rule in load_rules(builtin, own, few_classes=few_classes)) - old
    return Held(references, newer, describe_rules(builtin, own, few_classes=few_classes, calibrated=True).sha256)
