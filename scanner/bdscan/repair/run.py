"""A whole repair: load, cut or unlearn, write, scan the result again, and judge whether it worked."""

from __future__ import annotations

import functools
import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bdscan import __version__
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.files import combined_digest, digest_of
from bdscan.intake.load import load
from bdscan.onnx.prepare import parse
from bdscan.onnx.write import write_model
from bdscan.pipeline import run as scan
from bdscan.repair import measure
from bdscan.repair.branch import cut_out
from bdscan.repair.distance import distance
from bdscan.repair.outcome import SIDECAR, Accuracy, Cut, Repair, Round, TriggerEffect
from bdscan.repair.planted import Planted, branches, named, planted
from bdscan.repair.rounds import Enough, Plan, repair_weights
from bdscan.repair.student import Student, frozen
from bdscan.repair.write import MODULE, check_name, set_aside, write_like
from bdscan.report import Report, Tool, Verdict
from bdscan.saved import read_report
from bdscan.settings import RepairSettings, Settings

Progress = Callable[[str, float], None]
LEFT = 0.75  # of the held-out images: on a good repair it is next to none, other classes reach 0.6 (docs/design.md)
AGAIN = 5000  # to the seed: patches that search the result begin elsewhere than those it was trained with
WORKS = 0.1  # of the held-out images, of a trigger that is still there once the branch is gone


def run(settings: RepairSettings, folder: str, progress: Progress, enough: Enough = lambda: False) -> Repair:
    """Repair the model; the result lies in `folder` under `settings.name`, whatever the outcome.

    `enough`: once it holds, training ends with the round that runs, and what there is is verified as ever.

    Raises:
        UsageError: the report names nothing to repair, or is not of this model.
        CannotJudge: the model has no gradients or cannot be loaded or written, or a branch cannot be cut.
    """
    began = time.perf_counter()
    before = read_report(settings.report, "--report")
    triggers = planted(before, settings.weaknesses)
    progress("load", 0.0)
    intake = load(settings.scan)
    if intake.subject.digest != before.subject.digest:
        raise UsageError("--report: it is of another model than this file (the digests differ); scan this one first")
    check_name(settings.name, intake.subject.format, settings.arch)
    progress("load", 1.0)
    subject = intake.scannable
    path = Path(folder) / settings.name
    repaired = mend(subject, before, triggers, settings, path, progress, enough)

    held_out = subject.samples.part(subject.samples.held_out, subject.classifier.device)
    progress("measure", 0.0)
    accuracy = measure.accuracy(
        measure.right(subject.classifier, *held_out), measure.right(repaired.classifier, *held_out)
    )
    train = subject.samples.part(subject.samples.search, subject.classifier.device)
    effects = measure.effects(subject, repaired.classifier, triggers, train, held_out, settings.seed + AGAIN)
    relearn = None
    if repaired.student is not None:
        relearn = measure.relearn(repaired.student, repaired.triggers[0], train, held_out, settings.seed)
    progress("measure", 1.0)
    apart = None
    if settings.weaknesses and repaired.student is not None:
        tick = functools.partial(progress, "class distance")
        apart = distance(subject.classifier, repaired.classifier, *train, settings.seed, tick)
    after = scan(again(settings.scan, path), lambda stage, share: progress(f"scan {stage}", share))
    reasons = shortcomings(accuracy, settings.max_accuracy_drop, after, effects[: len(named(before))])
    if reasons:
        path = set_aside(path)
        after = of_file(after, path)
    fewer = intake.samples.count if intake.samples.count < before.samples.count else None
    return Repair(
        tool=Tool(version=__version__),
        outcome="rejected" if reasons else "repaired",
        reasons=tuple(reasons),
        summary=reasons[0] if reasons else summary(effects, repaired, fewer, before),
        source=next(f for f in intake.subject.files if f.role == "model"),
        result=digest_of(path, "model"),
        report_digest=hashlib.sha256(Path(settings.report).read_bytes()).hexdigest(),
        accuracy=accuracy,
        triggers=effects,
        relearn=relearn,
        distance=apart,
        rounds=repaired.rounds,
        cut=repaired.cut,
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


@dataclass(frozen=True)
class Repaired:
    """The classifier in the written file. `student`: where weights were trained, to unlearn `triggers`."""

    classifier: Classifier
    triggers: tuple[Planted, ...] = ()
    student: Student | None = None
    rounds: tuple[Round, ...] = ()
    cut: Cut | None = None


def mend(
    subject: Scannable,
    before: Report,
    triggers: Sequence[Planted],
    settings: RepairSettings,
    path: Path,
    progress: Progress,
    enough: Enough = lambda: False,
) -> Repaired:
    """Cut the branches that the report finds, unlearn the triggers that are left, and write the result to `path`."""
    if not branches(before):
        student, rounds = repair_weights(subject, triggers, Plan(), settings.seed, progress, enough)
        write_like(_finite(student).network, Path(settings.model), path)
        return Repaired(frozen(student), tuple(triggers), student, rounds)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # external weights cannot be written over themselves
        half = Path(folder) / path.name
        progress("cut", 0.0)
        cut = cut_out(subject, Path(settings.model), half)
        progress("cut", 1.0)
        rest = load(again(settings.scan, half)).scannable
        left = still_working(rest, triggers)
        if not left:
            write_model(path, parse(half), half)
            return Repaired(rest.classifier, cut=cut)
        student, rounds = repair_weights(rest, left, Plan(), settings.seed, progress, enough)
        write_like(_finite(student).network, half, path)
    return Repaired(frozen(student), left, student, rounds, cut)


def _finite(student: Student) -> Student:
    if not all(bool(torch.isfinite(weight).all()) for weight in student.weights):
        raise CannotJudge("the training diverged (weights that are no numbers); nothing was written")
    return student


def of_file(scanned: Report, path: Path) -> Report:
    """The report of a scan with the digests of the file as it is now named, where its weights file's name is part."""
    files = [file for file in scanned.subject.files if file.role not in ("model", "sidecar")]
    own = [digest_of(path, "model")]
    if (sidecar := path.with_name(path.name + SIDECAR)).is_file():
        own.append(digest_of(sidecar, "sidecar"))
    digest = combined_digest(tuple(file for file in (*own, *files) if file.role in ("model", "sidecar", "arch")))
    subject = scanned.subject.model_copy(update={"files": (*own, *files), "digest": digest})
    return scanned.model_copy(update={"subject": subject})


def still_working(subject: Scannable, triggers: Sequence[Planted]) -> tuple[Planted, ...]:
    """Those that move more than a tenth of the held-out images: others lived in the branch alone."""
    images, labels = subject.samples.part(subject.samples.held_out, subject.classifier.device)
    known = measure.right(subject.classifier, images, labels)
    rates = [measure.success(subject.classifier, trigger, images, labels, known) for trigger in triggers]
    return tuple(t for t, rate in zip(triggers, rates, strict=True) if rate.value > WORKS or not rate.n)


def again(settings: Settings, path: Path) -> Settings:
    """The settings of the second scan: the written file, presented as the first was."""
    if not path.is_file():
        raise CannotJudge("the repaired model was not written")
    return settings.model_copy(update={"model": str(path)})


def shortcomings(
    accuracy: Accuracy, most_points: float, after: Report, alarms: Sequence[TriggerEffect] = ()
) -> list[str]:
    """Why the repair is rejected; empty if it is not. `alarms`: the effects on the triggers that alarmed."""
    reasons = []
    if after.verdict is not Verdict.CLEAN:
        reasons.append(f"the repaired model is still {after.verdict.value}: {after.summary}")
    for each in alarms:
        left = each.strongest.after if each.strongest is not None else None
        if left is not None and left.value > LEFT:
            reasons.append(
                f"a patch at the places of the trigger to class {each.target.index} still works on {left.value:.0%} of "
                "the held-out images"
            )
    lost = 100 * (accuracy.before.value - accuracy.after.value)
    if lost > most_points and accuracy.significant:
        reasons.append(
            f"clean accuracy fell by {lost:.1f} points on {accuracy.before.n} held-out images "
            f"(more than {most_points:g}, p = {accuracy.p_value:.3f})"
        )
    return reasons


def summary(effects: Sequence[TriggerEffect], repaired: Repaired, fewer: int | None, first: Report) -> str:
    said, cut = [], repaired.cut
    if cut is not None:
        when = "and before weights were trained, " if repaired.rounds else ""
        said.append(
            f"The graph's branch was cut, and {when}on all {cut.images} clean images every output is the original's."
        )
    if effects:
        best = max(effects, key=lambda each: each.before.value)
        said.append(
            f"The success of the trigger to class {best.target.index} fell from {best.before.value:.0%} to"
            f" {best.after.value:.0%}."
            if best.before.value > WORKS
            else "None of the triggers worked on the held-out images, before or after."
        )
        if len(effects) > 1 and best.before.value > WORKS:
            most = max(each.after.value for each in effects if each is not best)
            said.append(f"Of the {len(effects)} triggers no other now works on more than {most:.0%}.")
    if first.subject.format == MODULE:
        said.append("Written as a state_dict.")
    said.append("A new scan finds nothing.")
    if fewer is not None:
        said.append(f"It had {fewer} clean images, the first scan {first.samples.count}: it sees less than that one.")
    return " ".join(said)
