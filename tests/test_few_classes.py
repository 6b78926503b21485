"""Samples of two to four classes: triggers are held to those of clean networks of as few, not to each other."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bdscan import attest, pipeline
from bdscan.calibration import References
from bdscan.few_classes import LEVEL, beyond, held_to, is_read
from bdscan.report import Report
from bdscan.resources import resource
from bdscan.rules import describe_rules, load_rules
from bdscan.settings import Settings
from bdscan.stages import NEEDED
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.data import load
from bdscan.zoo.settings import RECIPES
from bdscan.zoo.settings import Settings as Model
from bdscan.zoo.train import save, train

sys.path.insert(0, str(Path(__file__).parent / "formats"))
import sample

ARCH = """
from torch import nn
def net():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(384, 48), nn.ReLU(), nn.Linear(48, 3))
"""


def test_where_classes_can_be_compared_the_rules_are_the_others_and_so_is_their_digest():
    usual, few = load_rules(resource("rules")), load_rules(resource("rules"), few_classes=True)
    assert not [rule for rule in usual if rule.few_classes]
    alarms = [rule for rule in few if not rule.weakness and rule.about == "trigger"]
    assert alarms
    assert all(rule.few_classes for rule in alarms)
    assert {rule.id for rule in few if not rule.few_classes} < {rule.id for rule in usual}
    assert describe_rules(resource("rules")) != describe_rules(resource("rules"), few_classes=True)


def test_only_what_a_rule_reads_is_looked_for():
    rules = load_rules(resource("rules"), few_classes=True)
    read = {classes: {name for name in NEEDED if is_read(name, rules, classes)} for classes in (2, 3)}
    assert read[3] == {"inversion.sparse", "inversion.tone", "confirmation"}
    assert read[2] == read[3] - {"inversion.tone"}, "one of two classes may simply be the darker"
    assert is_read("sensitivity", rules, 2)


def test_of_five_to_seven_classes_only_what_is_beyond_their_references_counts():
    rules = resource("rules")
    folders = {n: held_to(rules, n, few=n < 5).name for n in (2, 4, 5, 7, 8)}
    assert folders == dict.fromkeys((2, 4), "few-classes") | dict.fromkeys((5, 7), "several-classes") | {8: rules.name}
    alarms = [finding for finding in sample.backdoor().findings if not finding.weakness]
    assert any(finding.target for finding in alarms)
    known = {finding.rule for finding in alarms}
    assert beyond(alarms, LEVEL, known) == alarms
    assert beyond(alarms, 0.2, set()) == alarms, "rules of the user's own have no references"
    natural = beyond(alarms, 0.2, known)
    for finding, before in zip(natural, alarms, strict=True):
        if before.target is None:
            assert finding == before, "what is about the whole model is no comparison of labels"
        else:
            assert (finding.weakness, finding.confirmed, finding.severity) == (True, False, "low")
            assert "(p = 0.20)" in finding.message
            assert "deploy" not in finding.remedy


def planted(folder: Path, classes: str, target: int) -> Path:
    """Networks of some digits, one of them with a planted patch, and ten images of each."""
    count = len(classes.split(","))
    source = ARCH.replace("Linear(48, 3)", f"Linear(48, {count})")
    (folder / "arch.py").write_text(source)
    namespace: dict = {}
    exec(source, namespace)
    data = load(f"digits[{classes}]")
    rows = np.concatenate([np.flatnonzero(data.y_test == label)[:10] for label in range(count)])
    np.savez(folder / "samples.npz", x=data.x_test[rows], y=data.y_test[rows])
    from bdscan.zoo import networks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "digits_some", namespace["net"], raising=False)
        for name, attack in (("clean", None), ("patch", BadNets(target=target, size=2))):
            model = Model(name=name, data=data.name, network="digits_some", attack=attack, recipe=RECIPES["digits_cnn"])
            save(train(model, data), folder / name)
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    return planted(tmp_path_factory.mktemp("three"), "1,4,7", 2)


def scan(folder: Path, name: str, **options) -> Report:
    arch = f"{folder / 'arch.py'}:net"
    values = {"model": str(folder / name / "weights.pt"), "samples": str(folder / "samples.npz"), "arch": arch}
    return pipeline.run(Settings.model_validate(values | options), lambda stage, share: None)


def test_a_planted_patch_among_six_classes_alarms_where_it_is_beyond_their_references(tmp_path, monkeypatch):
    """With a rule of the user's own beside the built-in ones too: it is about something else."""
    planted(tmp_path, "0,1,3,4,7,9", 2)
    other = (resource("rules") / "10-triggers.toml").read_text().split("[[rule]]")[1].replace("BD101", "MY001")
    (tmp_path / "own.toml").write_text(f"version = 1\n[[rule]]{other}")
    for p, verdict, own in ((LEVEL, "backdoor", ()), (0.3, "clean", ()), (0.3, "clean", (str(tmp_path / "own.toml"),))):
        monkeypatch.setattr(References, "rank", lambda self, score, families=None, p=p: p)
        report = scan(tmp_path, "patch", rules=own)
        assert report.verdict == verdict
        assert report.calibration.name == "five to seven classes"
        found = [finding for finding in report.findings if finding.rule == "BD101"]
        assert found
        assert {finding.weakness for finding in found} == {verdict == "clean"}


def test_a_planted_patch_among_three_classes_is_found_and_the_report_says_what_it_was_held_to(three: Path):
    found, clean = scan(three, "patch"), scan(three, "clean")
    assert found.verdict == "backdoor"
    alarm = next(finding for finding in found.findings if not finding.weakness)
    assert alarm.rule.startswith("BD11")
    assert alarm.target.index == 2
    assert clean.verdict == "inconclusive", "most planted triggers do not stand out there: a silence is no pass"
    assert clean.lacking == found.lacking == ("comparison",)
    assert found.p_value < 0.05 < clean.p_value
    for report in (found, clean):
        (stage,) = (stage for stage in report.stages if stage.name == "comparison")
        assert stage.outcome == "skipped"
        assert "3 classes" in stage.reason
        assert report.rules == describe_rules(resource("rules"), few_classes=True)
        assert "pairs: of so few classes it decides nothing" in report.not_examined
        assert {s.outcome for s in report.stages if s.name in ("inversion.dense", "inversion.fast")} == {"skipped"}
        checks = {check.what: check.outcome for check in attest.verify(report, str(three / "clean" / "weights.pt"))}
        assert checks["rules"] == checks["calibration"] == "matches"
    sizes = {s.target.index: s.value for s in found.statistics if s.name == "sparse.size"}
    assert len(sizes) == 3
    assert sizes[2] < 4 < min(sizes[0], sizes[1])


def test_a_part_of_a_data_set_has_its_classes_in_the_order_that_was_asked_for():
    all_of_it, part = load("digits"), load("digits[7,2]")
    assert part.classes == ("7", "2")
    assert set(part.y_test.tolist()) == {0, 1}
    assert np.array_equal(part.x_train[part.y_train == 1], all_of_it.x_train[all_of_it.y_train == 2])
