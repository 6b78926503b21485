"""A whole repair: load, unlearn, write, scan the result again, and judge whether it worked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from bdscan import __version__
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.files import digest_of
from bdscan.intake.load import load
from bdscan.pipeline import run as scan
from bdscan.repair import measure
from bdscan.repair.outcome import Accuracy, Repair
from bdscan.repair.planted import planted
from bdscan.repair.rounds import Plan, repair_weights
from bdscan.repair.student import frozen
from bdscan.repair.write import write_like
from bdscan.report import Report, Tool, Verdict
from bdscan.saved import read_report
from bdscan.settings import RepairSettings, Settings

Progress = Callable[[str, float], None]


def run(settings: RepairSettings, folder: str, progress: Progress) -> Repair:
    """Repair the model; the result lies in `folder` under `settings.name`, whatever the outcome.

    Raises:
        UsageError: the report names nothing to unlearn, or is not of this model.
        CannotJudge: the model has no gradients or cannot be loaded or written.
    """
    began = time.perf_counter()
    before = read_report(settings.report, "--report")
    triggers = planted(before, settings.weaknesses)
    progress("load", 0.0)
    intake = load(settings.scan)
    if intake.subject.digest != before.subject.digest:
        raise UsageError("--report: it is of another model than this file (the digests differ); scan this one first")
    progress("load", 1.0)
    subject = intake.scannable
    student, rounds = repair_weights(subject, triggers, Plan(), settings.seed, progress)
    repaired = frozen(student)
    path = Path(folder) / settings.name
    write_like(student.network, Path(settings.model), path)

    device = subject.classifier.device
    train = subject.samples.part(subject.samples.search, device)
    held_out = subject.samples.part(subject.samples.held_out, device)
    progress("measure", 0.0)
    accuracy = measure.accuracy(measure.right(subject.classifier, *held_out), measure.right(repaired, *held_out))
    effects = measure.effects(subject, repaired, triggers, *held_out)
    relearn = measure.relearn(student, triggers[0], train, held_out, settings.seed)
    progress("measure", 1.0)
    after = scan(again(settings.scan, path), lambda stage, share: progress(f"scan {stage}", share))
    reasons = shortcomings(accuracy, settings.max_accuracy_drop, after)
    return Repair(
        tool=Tool(version=__version__),
        outcome="rejected" if reasons else "repaired",
        reasons=tuple(reasons),
        summary=reasons[0] if reasons else _summary(effects[0].before.value, effects[0].after.value),
        source=next(f for f in intake.subject.files if f.role == "model"),
        result=digest_of(path, "model"),
        report_digest=hashlib.sha256(Path(settings.report).read_bytes()).hexdigest(),
        accuracy=accuracy,
        triggers=effects,
        relearn=relearn,
        rounds=rounds,
        before=before,
        after=after,
        settings={
            "seed": settings.seed,
            "threads": settings.threads,
            "budget": settings.budget,
            "weaknesses": settings.weaknesses,
            "max_accuracy_drop": settings.max_accuracy_drop,
        },
        seconds=round(time.perf_counter() - began, 3),
    )


def again(settings: Settings, path: Path) -> Settings:
    """The settings of the second scan: the written file, presented as the first was."""
    if not path.is_file():
        raise CannotJudge("the repaired model was not written")
    return settings.model_copy(update={"model": str(path)})


def shortcomings(accuracy: Accuracy, most_points: float, after: Report) -> list[str]:
    """Why the repair is rejected; empty if it is not."""
    reasons = []
    if after.verdict is not Verdict.CLEAN:
        reasons.append(f"the repaired model is still {after.verdict.value}: {after.summary}")
    lost = 100 * (accuracy.before.value - accuracy.after.value)
    if lost > most_points and accuracy.significant:
        reasons.append(
            f"clean accuracy fell by {lost:.1f} points on {accuracy.before.n} held-out images "
            f"(more than {most_points:g}, p = {accuracy.p_value:.3f})"
        )
    return reasons


def _summary(before: float, after: float) -> str:
    return f"The first trigger's success fell from {before:.0%} to {after:.0%}, and a new scan finds nothing."
