"""References and rules that are newer than they: what is found counts, and says that nobody knows its rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bdscan.calibration import load_references
from bdscan.ranking import held
from bdscan.report import Finding, Severity
from bdscan.resources import resource
from bdscan.rules import UNCALIBRATED, describe_rules, load_rules

RULES = resource("rules")
NEW = {rule.id for rule in load_rules(RULES)} - {rule.id for rule in load_rules(RULES, calibrated=True)}


def finding(rule: str, weakness: bool = False) -> Finding:
    return Finding(
        rule=rule,
        title="t",
        severity=Severity.LOW if weakness else Severity.HIGH,
        confidence="low" if weakness else "high",
        message="m",
        weakness=weakness,
        remedy="r",
    )


def test_the_shipped_references_know_all_rules_but_those_that_stand_apart():
    rank = held(load_references(RULES), RULES, (), few_classes=False)
    assert rank.newer == NEW
    assert rank.known == load_rules(RULES, calibrated=True)
    assert rank.references.p_value(0.5, "standard", None, rank.digest) is not None


def test_references_that_were_scanned_by_all_rules_know_all():
    own = replace(load_references(RULES), rules=describe_rules(RULES).sha256)
    rank = held(own, RULES, (), few_classes=False)
    assert rank.newer == frozenset()
    assert rank.references.p_value(0.5, "standard", None, rank.digest) is not None


def test_with_rules_of_the_user_s_own_there_is_no_p_value(tmp_path: Path):
    mine = tmp_path / "own.toml"
    mine.write_text((RULES / "10-triggers.toml").read_text())
    rank = held(load_references(RULES), RULES, [str(mine)], few_classes=False)
    assert rank.references.p_value(0.5, "standard", None, rank.digest) is None


def test_a_p_value_speaks_of_no_alarm_that_a_newer_rule_raised(tmp_path: Path):
    (tmp_path / UNCALIBRATED).mkdir()
    text = (RULES / "10-triggers.toml").read_text()
    (tmp_path / "10.toml").write_text(text)
    (tmp_path / UNCALIBRATED / "20.toml").write_text(text.replace('id = "BD101"', 'id = "BD999"'))
    rank = held(load_references(RULES), tmp_path, (), few_classes=False)
    assert rank.newer == {"BD999"}
    assert rank.explains([finding("BD101"), finding("BD999", weakness=True)])
    assert not rank.explains([finding("BD101"), finding("BD999")])
    assert held(load_references(RULES), tmp_path, (), few_classes=True).newer == frozenset()


def test_the_report_says_which_rules_they_do_not_know():
    told = load_references(RULES).describe(newer=["BD998", "BD999"]).note
    assert "BD998 and BD999" in told
    assert "without BD997, BD998 and BD999:" in load_references(RULES).describe(newer=["BD997", "BD998", "BD999"]).note
    assert "without BD999:" in load_references(RULES).describe(newer=["BD999"]).note
    assert "BD99" not in load_references(RULES).describe().note
