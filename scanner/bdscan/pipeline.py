"""The story of a scan: subject -> stages -> candidates -> confirmation -> findings -> verdict -> report.

Universal triggers are confirmed before pairs are searched: a target that one confirmed trigger reaches from everywhere
is close to every source, and needs no pair.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from bdscan import __version__, judge, report
from bdscan.calibration import load_references
from bdscan.confirming import Confirming
from bdscan.detectors import confirmation
from bdscan.detectors.common import label_of, lighter
from bdscan.detectors.graph import has_graph
from bdscan.detectors.interface import Budget
from bdscan.detectors.inversion.families import FAMILIES
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.registry import CONFIRMED_BEFORE, DETECTORS, chosen
from bdscan.errors import UsageError
from bdscan.few_classes import LEVEL, beyond, held_to, is_read, is_several
from bdscan.intake.classifier import Scannable
from bdscan.intake.load import load
from bdscan.intake.speed import fast
from bdscan.ranking import held
from bdscan.resources import resource
from bdscan.rules import decide, describe_rules, load_rules
from bdscan.score import Found, families_of, margins, score
from bdscan.settings import Settings
from bdscan.stages import NEEDED, Compared, Progress, Story, compared, not_examined, not_looked, run_stage

NOT_ABOUT_RESULTS = ("memory_gb", "time_limit", "require_sandbox")  # settings that change no number of a report


def run(settings: Settings, progress: Progress) -> report.Report:
    """Scan one model. Raises UsageError and CannotJudge as the intake does; a detector's error is a failed stage."""
    began, started = time.perf_counter(), datetime.datetime.now(datetime.UTC)
    rules = load_rules(resource("rules"), settings.rules)
    own = load_references(resource("rules"), settings.calibration) if settings.calibration else None
    try:
        detectors = chosen(settings.detectors)
    except ValueError as error:
        raise UsageError(f"--detectors: {error}") from None
    budget = Budget(settings.budget, settings.seed)
    asked = families_of(detectors) if settings.detectors else None
    story = Story()

    progress("load", 0.0)
    intake = load(settings)
    subject = lighter(intake.scannable)
    searching = replace(subject, classifier=fast(subject.classifier))
    story.timed("load", began)
    progress("load", 1.0)

    classes = len(set(subject.samples.labels.tolist()))
    against = compared(story, len(subject.classifier.classes), classes)
    few = against is not Compared.EACH_OTHER
    references = own or load_references(held_to(resource("rules"), len(subject.classifier.classes), few))
    if few:
        rules = load_rules(resource("rules"), settings.rules, few_classes=True)
    if against is Compared.NOTHING:
        rules = tuple(rule for rule in rules if not rule.few_classes)
    confirming = Confirming(story, subject, searching, rules, budget, progress)
    for detector in DETECTORS:
        if detector.about.name in CONFIRMED_BEFORE:
            confirming.universal()
        if detector not in detectors:
            story.stages.append(report.Skipped(name=detector.about.name, reason="not asked for (--detectors)"))
            continue
        if against is Compared.REFERENCES and not is_read(detector.about.name, rules, classes):
            story.stages.append(report.Skipped(name=detector.about.name, reason="of so few classes it decides nothing"))
            continue
        run_stage(story, detector, searching, budget, progress)

    confirming.pairs()
    confirming.end()
    findings = [
        *judge.statistic_findings(rules, story.measured),
        *judge.trigger_findings(subject, rules, story.confirmed, story.suspected, story.measured),
    ]
    needed = [name for name in NEEDED if against is not Compared.REFERENCES or is_read(name, rules, classes)]
    lacking = not_looked(story, needed, has_graph(subject))
    used = describe_rules(resource("rules"), settings.rules, few_classes=few)
    statistics = tuple(s for m in story.measured.values() for s in m.statistics)
    near = margins(rules, story.confirmed, confirming.candidates(), statistics)
    if any(name != report.COMPARISON for name in lacking):
        ran = {stage.name for stage in story.stages if stage.outcome == "measured"}
        asked = families_of(detector for detector in detectors if detector.about.name in ran)
    rank = held(references, resource("rules"), settings.rules, few_classes=few)
    if not few and is_several(len(subject.classifier.classes)):
        shipped = load_references(held_to(resource("rules"), len(subject.classifier.classes), few))
        judges = own if own is not None and own.decides(LEVEL, settings.budget, rank.digest) else shipped
        known = load_rules(resource("rules"), calibrated=True)  # the user's own rules have no references
        by_these = score(margins(known, story.confirmed, confirming.candidates(), statistics)) or 0.0
        findings = beyond(findings, judges.rank(by_these, asked), {rule.id for rule in known})
    by_known = score(margins(rank.known, story.confirmed, confirming.candidates(), statistics))
    if against is not Compared.NOTHING:
        statistics = references.ranked(statistics, settings.budget, rank.digest)
    comparable = against is not Compared.NOTHING and rank.explains(findings)
    comparable &= asked is None or bool(asked & {*FAMILIES, "pair"})
    verdict = decide(findings, could_look=not lacking)
    statistics += tuple(margin_statistic(subject, found, value) for found, value in near.items())
    statistics += tuple(s for c in story.confirmed for s in confirmation_statistics(subject, c))
    if few:
        statistics += tuple(size_statistic(subject, c) for c in confirming.candidates() if not c.sources)
    return report.Report(
        tool=report.Tool(version=__version__),
        verdict=verdict,
        summary=summarise(verdict, findings, lacking),
        score=score(near),
        p_value=references.p_value(by_known, settings.budget, asked, rank.digest) if comparable else None,
        subject=intake.subject,
        samples=intake.samples,
        findings=tuple(findings),
        stages=tuple(story.stages),
        statistics=statistics,
        lacking=tuple(lacking),
        rules=used,
        calibration=references.describe(intake.subject, intake.samples, sorted(rank.newer)),
        isolation=report.Isolation(level="none"),
        settings={k: v for k, v in settings.model_dump().items() if k not in NOT_ABOUT_RESULTS},
        not_examined=not_examined(story, settings.budget),
        run=report.Run(
            started=started.isoformat(timespec="seconds"),
            host=f"{platform.system()} {platform.machine()}",
            seconds=round(time.perf_counter() - began, 3),
            stages=tuple(story.seconds),
            device=str(subject.classifier.device),
            threads=torch.get_num_threads(),
        ),
    )


def margin_statistic(subject: Scannable, found: Found, value: float) -> report.Statistic:
    family, target, sources = found
    return report.Statistic(
        name=f"{family}.margin",
        detector=confirmation.about.name,
        value=value,
        target=None if target is None else label_of(subject, target),
        sources=tuple(label_of(subject, source) for source in sources),
        description="how near the nearest rule came to an alarm: its worst bound, and from 1 on the evidence beyond it",
    )


def size_statistic(subject: Scannable, c: Candidate) -> report.Statistic:
    return report.Statistic(
        name=f"{c.family}.size",
        detector=confirmation.about.name,
        value=c.size,
        target=label_of(subject, c.target),
        description=f"size: {FAMILIES[c.family].unit}",
    )


TRIED = {  # of a suspected trigger on held-out images and in its second search; what the rules read beside the first's
    "gap": "size to that of the next larger label",
    "asr": "success on held-out images",
    "moved": "root mean square change of a pixel",
    "recognised": "share of held-out images still classified right in the trigger's light, or under waves as strong",
    "repeat_ratio": "size in a second search, to that of control labels",
    "repeat_depth": "logarithm of the same, relative to that of the number of labels",
    "size_ratio": "size to the median over pairs",
    "searched": "share of all class pairs that were inverted",
    "repeat_size": "size in a second search",
    "lead": "margin of a patch over its cells above what others reach there, in clean median margins",
    "other_lead": "the same with the halves of the images exchanged",
    "other_ratio": "size in a search on the other half of the images, to that of control labels",
    "other_asr": "success of that search's trigger on the images of the first",
    "images": "right images of its source in the smaller half",
    "unexplained": "moderated index of its target's margin without what clean classes differ by",
    "lean": "how far clean images of its source lean to its target, one way",
}


def confirmation_statistics(subject: Scannable, c: confirmation.Confirmation) -> Iterator[report.Statistic]:
    family = "pair" if c.trigger.sources else c.trigger.family
    for name, description in TRIED.items():
        if name in c.metrics:
            yield report.Statistic(
                name=f"{family}.{name}",
                detector=confirmation.about.name,
                value=c.metrics[name],
                target=label_of(subject, c.trigger.target),
                sources=tuple(label_of(subject, source) for source in c.trigger.sources),
                description=description,
            )


def summarise(verdict: report.Verdict, findings: list[report.Finding], lacking: list[str]) -> str:
    alarms = [f for f in findings if not f.weakness]
    if verdict is report.Verdict.CLEAN:
        return "Looked, and found nothing beyond what clean networks show."
    if verdict is report.Verdict.INCONCLUSIVE and lacking == [report.COMPARISON]:
        return "Nothing was found, which says little: the samples are of too few classes for a comparison."
    if verdict is report.Verdict.INCONCLUSIVE:
        return f"Nothing was found, but these stages did not measure: {', '.join(lacking)}."
    return next((f for f in alarms if f.confirmed), alarms[0]).message
