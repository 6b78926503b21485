"""Candidates and confirmations -> findings with their evidence. What is suspicious is the rules' to say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from bdscan.detectors.common import label_of
from bdscan.detectors.confirmation import INTENSITIES, Confirmation, victims
from bdscan.detectors.interface import Measurement
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.pictures import png, trigger_parameters, trigger_pictures
from bdscan.intake.classifier import Scannable
from bdscan.report import Bars, Curve, Evidence, Finding, Gallery, Label, Line, Pair
from bdscan.rules import Rule, confidence_of, fires, for_confirmation, holds
from bdscan.suspects import suspicion

SHOWN = 4
NATURAL_LEAD = 0.8  # at a natural trigger's place on clean networks a patch led by 0.6 at most (standout.py)
Key = tuple[int, tuple[int, ...]]  # target and source classes


def trigger_findings(
    subject: Scannable,
    rules: Sequence[Rule],
    confirmations: Iterable[Confirmation],
    suspected: Iterable[Candidate],
    measured: dict[str, Measurement],
) -> list[Finding]:
    """One finding a target (and source): the strongest of the families that found it speaks, and those that
    `suspected` it too are named."""
    best: dict[Key, tuple[Rule, Confirmation]] = {}
    ranked = sorted(confirmations, key=lambda c: (suspicion(c.trigger), c.asr), reverse=True)
    for c in ranked:
        rule = for_confirmation(rules, c.trigger.family, not c.trigger.sources, c.metrics)
        if rule is None:
            continue
        key = key_of(c.trigger)
        if key not in best or _rank(rule, c) > _rank(*best[key]):
            best[key] = (rule, c)
    others: dict[Key, set[str]] = {}
    for s in suspected:
        others.setdefault(key_of(s), set()).add(s.family)
    standing = {key_of(c.trigger): known for c in ranked if (known := _stands_out(c)) is not None}
    universal = {t for t, s in best if not s and not best[(t, s)][0].weakness}
    findings = [
        trigger_finding(subject, rule, c, others.get(key, set()) - {c.trigger.family}, measured)
        for key, (rule, c) in sorted(best.items(), key=lambda item: -standing.get(item[0], 0.0))
        if not (key[1] and key[0] in universal)  # a universal trigger makes every pair to its target small
    ]
    return sorted(findings, key=lambda f: (f.weakness, not f.confirmed))


def _stands_out(c: Confirmation) -> float | None:
    """How far a patch at a universal trigger's place leads, beyond what natural ones do; None where nobody tried."""
    leads = [c.metrics[name] for name in ("lead", "other_lead") if name in c.metrics]
    return min(leads) - NATURAL_LEAD if len(leads) == 2 and not c.trigger.sources else None


def key_of(trigger: Candidate) -> Key:
    return trigger.target, trigger.sources


def alarm(rules: Sequence[Rule], c: Confirmation) -> Rule | None:
    """The alarm that speaks for a trigger, if one does."""
    rule = for_confirmation(rules, c.trigger.family, not c.trigger.sources, c.metrics)
    return None if rule is None or rule.weakness else rule


def is_planted(rules: Sequence[Rule], c: Confirmation) -> bool:
    """Whether a confirmed finding is certain, whatever other families would say of its target."""
    rule = alarm(rules, c)
    return rule is not None and holds(rule.confirmed, c.metrics)


def _rank(rule: Rule, c: Confirmation) -> tuple[bool, bool, float]:
    """Which family speaks for a target: a patch may be a faint pattern too, but it is smallest as what it is."""
    return (not rule.weakness, holds(rule.confirmed, c.metrics), -c.metrics.get("ratio", 1.0))


def named(label: Label) -> str:
    """`class 3 (cat)`, or `class 3` where the name is the number."""
    return f"class {label.index}" if label.name == str(label.index) else f"class {label.index} ({label.name})"


def trigger_finding(
    subject: Scannable, rule: Rule, c: Confirmation, others: set[str], measured: dict[str, Measurement]
) -> Finding:
    trigger = c.trigger
    target = label_of(subject, trigger.target)
    sources = tuple(label_of(subject, s) for s in trigger.sources)
    confirmed = not rule.weakness and holds(rule.confirmed, c.metrics)
    text = rule.message.format(
        family=trigger.family,
        target=named(target),
        sources=", ".join(named(s) for s in sources) or "all classes",
        summary="",
    )
    text = text[:1].upper() + text[1:]
    if others:
        text += f" Also suspected by: {', '.join(sorted(others))}."
    if c.reference_asr is not None:
        text += f" On the trusted network the same trigger succeeds on {c.reference_asr:.0%}."
    return Finding(
        rule=rule.id,
        title=rule.title,
        severity=rule.severity,
        confidence=confidence_of(rule, confirmed),
        message=text,
        target=target,
        sources=sources,
        confirmed=confirmed,
        weakness=rule.weakness,
        asr=c.asr,
        asr_interval=c.interval,
        asr_n=c.n,
        evidence=evidence(subject, c, measured),
        references=rule.references,
        remedy=rule.remedy,
    )


def evidence(subject: Scannable, c: Confirmation, measured: dict[str, Measurement]) -> tuple[Evidence, ...]:
    """Trigger, mask, stamped images, intensity profile, and the plots of the stage that found it."""
    trigger = c.trigger
    images, _ = victims(subject, trigger)
    shown = images[torch.linspace(0, len(images) - 1, min(SHOWN, len(images))).long()] if len(images) else images
    out: list[Evidence] = []
    basis = shown if len(shown) else torch.full((1, *subject.classifier.shape), 0.5)
    out += trigger_pictures(trigger, basis.to(subject.classifier.device))
    if len(shown):
        stamped = trigger.stamp(shown, 1.0)
        before = subject.classifier.predict(shown).argmax(1).tolist()
        after = subject.classifier.predict(stamped).argmax(1).tolist()
        out.append(
            Gallery(
                title="Held-out images, clean and stamped",
                pairs=tuple(
                    Pair(clean=png(a), stamped=png(b), before=label_of(subject, i), after=label_of(subject, j))
                    for a, b, i, j in zip(shown, stamped, before, after, strict=True)
                ),
            )
        )
    out.append(
        Curve(
            title="Success by intensity",
            x_label="trigger intensity",
            y_label="held-out attack success rate",
            x=INTENSITIES,
            lines=(Line(name=f"class {trigger.target}", y=c.profile, highlighted=True),),
        )
    )
    stage = "pairs" if trigger.sources else f"inversion.{trigger.family}"
    if stage in measured:
        out += [_marked(each, trigger.target) for each in measured[stage].evidence]
    target = label_of(subject, trigger.target)
    sources = tuple(label_of(subject, s) for s in trigger.sources)
    out.append(trigger_parameters(trigger, target, sources, subject.classifier.shape))
    return tuple(out)


def _marked(each: Evidence, target: int) -> Evidence:
    """A stage marks the smallest bar; a finding's is its target's."""
    if not isinstance(each, Bars):
        return each
    bars = tuple(bar.model_copy(update={"highlighted": bar.label.index == target}) for bar in each.bars)
    return each.model_copy(update={"bars": bars})


def statistic_findings(rules: Sequence[Rule], measured: dict[str, Measurement]) -> list[Finding]:
    """Findings of rules about a single statistic, such as the graph check's."""
    findings = []
    for rule in rules:
        if rule.about != "statistic":
            continue
        for measurement in measured.values():
            for s in measurement.statistics:
                if s.name == rule.statistic and s.value is not None and fires(rule, {"value": s.value}):
                    findings.append(
                        Finding(
                            rule=rule.id,
                            title=rule.title,
                            severity=rule.severity,
                            confidence=confidence_of(rule, False),
                            message=rule.message.format(
                                summary=measurement.summary[:2000], target="", family="", sources=""
                            ),
                            target=s.target,
                            sources=s.sources,
                            weakness=rule.weakness,
                            evidence=measurement.evidence,
                            references=rule.references,
                            remedy=rule.remedy,
                        )
                    )
    return findings
