"""The story of a scan: subject -> stages -> candidates -> confirmation -> findings -> verdict -> report."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from bdscan import __version__, judge, report
from bdscan.calibration import load_references
from bdscan.detectors import confirmation
from bdscan.detectors.common import evenly
from bdscan.detectors.interface import Budget, CouldNotRun, Detector, Hints, Measurement
from bdscan.detectors.registry import DETECTORS, TRUST, chosen
from bdscan.errors import UsageError
from bdscan.intake.classifier import Samples, Scannable
from bdscan.intake.load import load
from bdscan.intake.speed import fast
from bdscan.resources import resource
from bdscan.rules import Rule, decide, describe_rules, load_rules
from bdscan.settings import Settings

Progress = Callable[[str, float], None]
MOST_IMAGES = 256
NOT_ABOUT_RESULTS = ("memory_gb", "time_limit", "require_sandbox")  # settings that change no number of a report
LONGEST = 2000  # characters of a stage's summary: it may quote names from the file
# A clean verdict means that these looked; the graph check too where the format has a graph.
NEEDED = ("inversion.sparse", "inversion.dense", "inversion.warp", "inversion.tone", "pairs", "confirmation")


@dataclass
class Story:
    """What happened so far; grows stage by stage."""

    stages: list[report.Measured | report.Skipped | report.Failed] = field(default_factory=list)
    measured: dict[str, Measurement] = field(default_factory=dict)
    seconds: list[report.StageSeconds] = field(default_factory=list)

    def hints(self) -> Hints:
        """What the next stage may use: labels ranked by trust-weighted scores, the DMS mask."""
        total: dict[int, float] = {}
        for name, m in self.measured.items():
            for label, score in m.scores.items():
                total[label] = total.get(label, 0.0) + TRUST.get(name, 0.0) * min(max(score, -3.0), 6.0)
        ranking = tuple(sorted(total, key=lambda label: (-total[label], label)))
        mask = next((m.mask for m in self.measured.values() if m.mask is not None), None)
        return Hints(ranking=ranking, mask=mask)

    def timed(self, name: str, began: float) -> None:
        self.seconds.append(report.StageSeconds(name=name, seconds=round(time.perf_counter() - began, 3)))


def run(settings: Settings, progress: Progress) -> report.Report:
    """Scan one model. Raises UsageError and CannotJudge as the intake does; a detector's error is a failed stage."""
    began, started = time.perf_counter(), datetime.datetime.now(datetime.UTC)
    rules = load_rules(resource("rules"), settings.rules)
    references = load_references(resource("rules"))
    try:
        detectors = chosen(settings.detectors)
    except ValueError as error:
        raise UsageError(f"--detectors: {error}") from None
    budget = Budget(settings.budget, settings.seed)
    story = Story()

    progress("load", 0.0)
    intake = load(settings)
    subject = intake.scannable
    subject = replace(subject, samples=lighter(subject.samples))
    searching = replace(subject, classifier=fast(subject.classifier))
    story.timed("load", began)
    progress("load", 1.0)

    for detector in DETECTORS:
        if detector not in detectors:
            story.stages.append(report.Skipped(name=detector.about.name, reason="not asked for (--detectors)"))
            continue
        run_stage(story, detector, searching, budget, progress)

    confirmed = run_confirmation(story, subject, searching, rules, budget, progress)
    findings = [
        *judge.statistic_findings(rules, story.measured),
        *judge.trigger_findings(subject, rules, confirmed, story.measured),
    ]
    lacking = not_looked(story, graph=subject.classifier.graph is not None)
    verdict = decide(findings, could_look=not lacking)
    candidates = [c for m in story.measured.values() for c in m.candidates]
    score = max((judge.suspicion(c) for c in candidates), default=None)
    return report.Report(
        tool=report.Tool(version=__version__),
        verdict=verdict,
        summary=summarise(verdict, findings, lacking),
        score=score,
        p_value=references.p_value(score) if score is not None and references.scores else None,
        subject=intake.subject,
        samples=intake.samples,
        findings=tuple(findings),
        stages=tuple(story.stages),
        statistics=tuple(s for m in story.measured.values() for s in m.statistics),
        lacking=tuple(lacking),
        rules=describe_rules(resource("rules"), settings.rules),
        calibration=references.describe(),
        isolation=report.Isolation(level="none"),
        settings={k: v for k, v in settings.model_dump().items() if k not in NOT_ABOUT_RESULTS},
        not_examined=not_examined(story, lacking),
        run=report.Run(
            started=started.isoformat(timespec="seconds"),
            host=f"{platform.system()} {platform.machine()}",
            seconds=round(time.perf_counter() - began, 3),
            stages=tuple(story.seconds),
            device=str(subject.classifier.device),
            threads=torch.get_num_threads(),
        ),
    )


def lighter(samples: Samples) -> Samples:
    """The samples with at most MOST_IMAGES in each part, evenly over the classes: with a thousand classes even two
    images each would cost more than the search itself. Clean accuracy has been measured on all of them."""

    def cut(part: torch.Tensor) -> torch.Tensor:
        return evenly(part[samples.labels[part].argsort(stable=True)], MOST_IMAGES) if len(part) > MOST_IMAGES else part

    return replace(samples, search=cut(samples.search), held_out=cut(samples.held_out))


def run_stage(story: Story, detector: Detector, subject: Scannable, budget: Budget, progress: Progress) -> None:
    """One detector; what it cannot do is a skipped stage, what goes wrong a failed one."""
    name, began = detector.about.name, time.perf_counter()
    progress(name, 0.0)
    try:
        result = detector.run(subject, budget, story.hints(), lambda share: progress(name, min(share, 0.999)))
        if isinstance(result, CouldNotRun):
            story.stages.append(report.Skipped(name=name, reason=result.reason))
        else:
            stage = report.Measured(name=name, summary=result.summary[:LONGEST], evidence=result.evidence)
            story.measured[name] = result
            story.stages.append(stage)
    except Exception as error:  # any failure of one stage must show in the report and must not end the others
        story.stages.append(report.Failed(name=name, error=_one_line(error)))
    story.timed(name, began)
    progress(name, 1.0)


def run_confirmation(
    story: Story, subject: Scannable, searching: Scannable, rules: tuple[Rule, ...], budget: Budget, progress: Progress
) -> list[confirmation.Confirmation]:
    name, began = confirmation.about.name, time.perf_counter()
    progress(name, 0.0)
    plain = [
        c for n, m in story.measured.items() if n not in ("inversion.dms", "inversion.adaptive") for c in m.candidates
    ]
    found = judge.to_confirm(rules, plain)
    confirmed: list[confirmation.Confirmation] = []
    try:
        if found:
            confirmed = confirmation.confirm(subject, searching.classifier, found, budget.name, budget.seed)
    except Exception as error:  # as in run_stage
        story.stages.append(report.Failed(name=name, error=_one_line(error)))
    else:
        if found and not any(c.n for c in confirmed):
            story.stages.append(report.Skipped(name=name, reason="no held-out image that a trigger could move"))
        elif found:
            worked = sum(c.asr >= 0.75 for c in confirmed)
            text = f"{len(confirmed)} triggers tried on held-out images, {worked} succeed on 75 % or more"
            story.stages.append(report.Measured(name=name, summary=text))
        else:
            story.stages.append(report.Skipped(name=name, reason="no inversion left a trigger to confirm"))
    story.timed(name, began)
    progress(name, 1.0)
    return confirmed


def not_looked(story: Story, graph: bool) -> list[str]:
    """Stages that a clean verdict needs and that did not measure."""
    ran = {s.name for s in story.stages if s.outcome == "measured"}
    return [name for name in (*NEEDED, *(("graph",) if graph else ())) if name not in ran]


def not_examined(story: Story, lacking: list[str]) -> tuple[str, ...]:
    fixed = (
        "Triggers of kinds that no family here can express, such as sample-specific ones and semantic objects.",
        "Behaviour on images unlike the samples.",
        "Training data, code around the model, and other outputs than the class scores.",
    )
    skipped = [f"{s.name}: {s.reason}" for s in story.stages if s.outcome == "skipped"]
    failed = [f"{s.name} failed: {s.error}" for s in story.stages if s.outcome == "failed"]
    return (*failed, *skipped, *fixed)


def summarise(verdict: report.Verdict, findings: list[report.Finding], lacking: list[str]) -> str:
    alarms = [f for f in findings if not f.weakness]
    if verdict is report.Verdict.CLEAN:
        return "Looked, and found nothing beyond what clean networks show."
    if verdict is report.Verdict.INCONCLUSIVE:
        return f"Nothing was found, but these stages did not measure: {', '.join(lacking)}."
    return next((f for f in alarms if f.confirmed), alarms[0]).message


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}"
