"""Rules: what was measured -> findings -> verdict. The rules themselves are data (`rules/*.toml`)."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bdscan.errors import UsageError
from bdscan.formats.text import shorten, visible
from bdscan.report import Confidence, Finding, Reference, RulesUsed, Severity, Verdict

EVIDENCE = "evidence"  # the name of a bound on all others of its alternative together
FEW_CLASSES = "few-classes"  # the folder of the rules for samples of too few classes to compare them
UNCALIBRATED = "uncalibrated"  # the folder of rules that the shipped references were not yet scanned by
MOST_OF_ONE = 3.0  # a factor of twenty
NEARLY = 0.99  # the margin where each bound holds, and the evidence is too little or something was not measured


class Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(Data):
    """Limits of one metric, inclusive."""

    min: float | None = None
    max: float | None = None

    def holds(self, value: float) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def margin(self, value: float) -> float:
        """How far inside the bound: 1 and more where it holds, between 0 and 1 elsewhere. For positive bounds."""
        over = value / self.min if self.min else math.inf
        under = self.max / value if self.max is not None and value > 0 else math.inf
        return max(min(over, under), 0.0)


class Rule(Data):
    """One rule.

    Attributes:
        about: what it judges: a recovered `trigger`, or a single `statistic`.
        families, scope: which triggers (empty: all).
        statistic: the statistic's name, for `about = "statistic"`.
        when: alternatives; each is a set of bounds on metrics that must all hold. One that holds makes a finding.
            A bound named `evidence` is on how far inside the others it is all in all.
        needs: bounds on what the measurement rests on (how many images, classes, pairs), which a finding of this rule
            needs beside them; they say nothing of how suspicious a trigger is.
        confirmed: bounds that must hold on held-out images and the second search for the finding to be confirmed.
        weakness: the finding is a natural weakness: shown, never raises the verdict.
        few_classes: it judges triggers where samples are of too few classes to compare them, and nowhere else.
    """

    id: str
    title: str
    severity: Severity
    about: Literal["trigger", "statistic"]
    families: tuple[str, ...] = ()
    scope: Literal["universal", "pair"] | None = None
    statistic: str | None = None
    when: tuple[dict[str, Bound], ...]
    needs: dict[str, Bound] = {}
    confirmed: dict[str, Bound] = {}
    weakness: bool = False
    few_classes: bool = False
    message: str
    references: tuple[Reference, ...] = ()
    remedy: str
    enabled: bool = True

    @model_validator(mode="after")
    def _can_work(self) -> Rule:
        """A rule that could never fire, or would fail when it does, is refused when it is read."""
        if self.enabled and not self.when:
            raise ValueError("`when` is empty")
        if (self.about == "statistic") != (self.statistic is not None):
            raise ValueError("`statistic` belongs to rules about a statistic, and is required there")
        try:
            self.message.format(family="", target="", sources="", summary="")
        except (KeyError, IndexError, ValueError, AttributeError):
            raise ValueError("`message` may name {family}, {target}, {sources} and {summary} only") from None
        return self


class RuleFile(Data):
    version: Literal[1]
    rule: tuple[Rule, ...]


def load_rules(
    builtin: Path, own: Iterable[str] = (), *, few_classes: bool = False, calibrated: bool = False
) -> tuple[Rule, ...]:
    """The built-in rules in the order of their files, then the user's; a rule with a known id replaces it.

    Those for weaknesses come last wherever they are from, since the first rule that fires speaks for a trigger, if no
    alarm is confirmed.

    With `few_classes`, what judges samples of too few classes to compare: rules made for that, and of the others those
    on statistics and on weaknesses. With `calibrated`, only those that the shipped references were scanned by.

    Raises:
        UsageError: a file that cannot be read or is not a rules file, with the first thing wrong.
    """
    rules: dict[str, Rule] = {}
    for path in _files(builtin, own, few_classes, calibrated):
        try:
            parsed = RuleFile.model_validate(tomllib.loads(path.read_text()))
        except OSError as error:
            raise UsageError(f"cannot read rules file {path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = shorten(visible(".".join(str(part) for part in first["loc"])), 120)
            raise UsageError(f"{path}: {where}: {first['msg']}") from None
        except RecursionError:
            raise UsageError(f"{path} is not TOML that can be read: it nests too deeply") from None
        except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
            raise UsageError(f"{path} is not TOML: {error}") from None
        rules.update({rule.id: rule for rule in parsed.rule})
    judging = [rule for rule in rules.values() if rule.enabled and _judges(rule, few_classes)]
    return tuple(sorted(judging, key=lambda rule: rule.weakness))


def _judges(rule: Rule, few_classes: bool) -> bool:
    """Whether a rule judges there: where classes cannot be compared, none that compares them, but for weaknesses."""
    return rule.few_classes or rule.weakness or rule.about == "statistic" if few_classes else not rule.few_classes


def describe_rules(
    builtin: Path, own: Iterable[str] = (), *, few_classes: bool = False, calibrated: bool = False
) -> RulesUsed:
    """The digest of all that `load_rules` reads. A report says it, and `bdscan verify` compares it.

    It does not say in which folder a built-in file is, so that it stays when a rule has been calibrated; that for few
    classes then changes, since the file was none of theirs.

    Raises:
        OSError: a file that cannot be read.
    """
    files = _files(builtin, own, few_classes, calibrated)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    sha256 = hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
    return RulesUsed(sha256=sha256, own=len(files) - len(_files(builtin, (), few_classes, calibrated)))


def _files(builtin: Path, own: Iterable[str], few_classes: bool, calibrated: bool) -> list[Path]:
    """Those of `few_classes` judge without the uncalibrated ones, which compare classes."""
    more = sorted((builtin / FEW_CLASSES).glob("*.toml")) if few_classes else []
    new = [] if few_classes or calibrated else (builtin / UNCALIBRATED).glob("*.toml")
    usual = sorted([*builtin.glob("*.toml"), *new], key=lambda path: path.name)
    return [*usual, *more, *map(Path, own)]


def holds(bounds: Mapping[str, Bound], metrics: Mapping[str, float], *, so_far: bool = False) -> bool:
    """Whether all bounds hold; a metric that was not measured holds no bound, or any bound if only asked `so_far`."""
    values = _values(bounds, metrics)
    return all(so_far if v is None else bounds[name].holds(v) for name, v in values.items())


def _values(bounds: Mapping[str, Bound], metrics: Mapping[str, float]) -> dict[str, float | None]:
    """What each bound is held to; the evidence is known only where every other metric is."""
    values = {name: _value(name, metrics) for name in bounds if name != EVIDENCE}
    if EVIDENCE in bounds:
        known = [bounds[name].margin(v) for name, v in values.items() if v is not None]
        values[EVIDENCE] = evidence(known) if len(known) == len(values) else None
    return values


def evidence(margins: Iterable[float]) -> float:
    """How far inside its bounds something is all in all: the sum of the logarithms of the margins.

    Each counts up to MOST_OF_ONE, so that one extreme figure is not worth all others.
    """
    return sum(min(math.log(m), MOST_OF_ONE) if m > 0 else -math.inf for m in margins)


def _value(name: str, metrics: Mapping[str, float]) -> float | None:
    """A metric. `a/b` is the ratio of two, so that critical values may depend on the number of labels."""
    top, _, bottom = name.partition("/")
    if top not in metrics or (bottom and not metrics.get(bottom)):
        return None
    return metrics[top] / metrics[bottom] if bottom else metrics[top]


def margin(rule: Rule, metrics: Mapping[str, float]) -> float:
    """How near metrics come to firing a rule, by its best alternative; 1 and more where it fires.

    Below 1 it is the worst bound's margin; above, the evidence beyond what the alternative asks for is added to 1.
    A metric that was not measured says nothing for or against, and then the margin stays below 1.
    """

    def of(bounds: Mapping[str, Bound]) -> float:
        others = {name: bound for name, bound in bounds.items() if name != EVIDENCE}
        values = {name: _value(name, metrics) for name in others}
        known = [others[name].margin(v) for name, v in values.items() if v is not None]
        worst = min(known, default=0.0)
        if worst < 1:
            return worst
        if len(known) < len(others) or not holds(rule.needs, metrics):
            return NEARLY
        wanted = bounds[EVIDENCE].min if EVIDENCE in bounds else None
        beyond = evidence(known) - (wanted or 0.0)
        return 1 + beyond if beyond >= 0 else NEARLY

    return max(of(bounds) for bounds in rule.when) if holds(rule.needs, metrics, so_far=True) else 0.0


def fires(rule: Rule, metrics: Mapping[str, float], *, so_far: bool = False) -> bool:
    return holds(rule.needs, metrics, so_far=so_far) and any(
        holds(bounds, metrics, so_far=so_far) for bounds in rule.when
    )


def for_trigger(
    rules: Iterable[Rule], family: str, universal: bool, metrics: Mapping[str, float], *, so_far: bool = False
) -> Rule | None:
    """The first rule that fires for a recovered trigger; alarms come before weaknesses in the files.

    `so_far`: before confirmation, a rule fires if nothing measured until then speaks against it.
    """
    return next((r for r in rules if applies(r, family, universal) and fires(r, metrics, so_far=so_far)), None)


def for_confirmation(rules: Iterable[Rule], family: str, universal: bool, metrics: Mapping[str, float]) -> Rule | None:
    """The rule that speaks for a trigger once all is measured: the first alarm that is confirmed, else the first rule
    that fires."""
    firing = [r for r in rules if applies(r, family, universal) and fires(r, metrics)]
    return next((r for r in firing if not r.weakness and holds(r.confirmed, metrics)), next(iter(firing), None))


def may_read(rules: Iterable[Rule], family: str, universal: bool, metrics: Mapping[str, float], metric: str) -> bool:
    """Whether an alarm hangs on a metric that was not measured yet."""
    return metric not in metrics and any(
        not r.weakness
        and applies(r, family, universal)
        and holds(r.needs, metrics, so_far=True)
        and any(metric in bounds and holds(bounds, metrics, so_far=True) for bounds in r.when)
        for r in rules
    )


def applies(rule: Rule, family: str, universal: bool) -> bool:
    """Whether a rule is about recovered triggers of this family and scope."""
    scope = "universal" if universal else "pair"
    return rule.about == "trigger" and rule.scope in (None, scope) and (not rule.families or family in rule.families)


def confidence_of(rule: Rule, confirmed: bool) -> Confidence:
    if rule.weakness:
        return Confidence.LOW
    return Confidence.HIGH if confirmed else Confidence.MEDIUM


def decide(findings: Iterable[Finding], could_look: bool) -> Verdict:
    """Findings -> verdict. `could_look`: every stage that a clean verdict needs has run."""
    alarms = [f for f in findings if not f.weakness]
    if any(f.confirmed for f in alarms):
        return Verdict.BACKDOOR
    if alarms:
        return Verdict.SUSPICIOUS
    return Verdict.CLEAN if could_look else Verdict.INCONCLUSIVE
