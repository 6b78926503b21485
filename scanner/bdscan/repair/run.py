"""A whole repair: load, cut or unlearn, write, scan the result again, and judge whether it worked."""

from __future__ import annotations

import functools
import hashlib
import statistics
import time
from pathlib import Path
from typing import get_args

import torch

from bdscan import __version__
from bdscan.detectors.common import MOST_IMAGES, lighter
from bdscan.errors import CannotJudge, UsageError
from bdscan.few_classes import COMPARABLE
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.detect_format import Format
from bdscan.intake.files import combined_digest, digest_of
from bdscan.intake.load import load
from bdscan.intake.presented import Presented
from bdscan.pipeline import run as scan
from bdscan.repair import measure
from bdscan.repair.distance import distance
from bdscan.repair.mend import Mended, Progress, again, mend
from bdscan.repair.outcome import SIDECAR, Accuracy, Distance, Relearn, Repair
from bdscan.repair.planted import Planted, named, planted
from bdscan.repair.rounds import Enough
from bdscan.repair.unnamed import unnamed
from bdscan.repair.verdict import shortcomings, summary
from bdscan.repair.write import check_copies, check_name, set_aside
from bdscan.report import Report, Tool
from bdscan.saved import read_report
from bdscan.settings import Budget, RepairSettings

AGAIN = 5000  # to the seed: patches that search the result begin elsewhere than those it was trained with


def run(settings: RepairSettings, folder: str, progress: Progress, enough: Enough = lambda: False) -> Repair:
    """Repair the model; the result lies in `folder` under `settings.name`, whatever the outcome.

    `enough`: once it holds, training ends with the round that runs, and what there is is verified as ever.

    Raises:
        UsageError: the report names nothing to repair, or is not of this model, or no image shows a trigger's classes.
        CannotJudge: the model has no gradients or cannot be loaded or written, holds its weights twice, a branch cannot
            be cut, or the images are of too few classes to verify a result.
    """
    began = time.perf_counter()
    before = read_report(settings.report, "--report")
    report_digest = hashlib.sha256(Path(settings.report).read_bytes()).hexdigest()
    settings = settings.model_copy(update={"budget": at_least(settings.budget, before)})
    triggers = planted(before, settings.weaknesses)
    progress("load", 0.0)
    intake = load(settings.scan)
    if intake.subject.digest != before.subject.digest:
        raise UsageError("--report: it is of another model than this file (the digests differ); scan this one first")
    check_name(settings.name, intake.subject.format, settings.arch)
    if intake.scannable.classifier.module is not None:
        check_copies(Path(settings.model), intake.scannable.classifier.module)
    check_trainable(intake.scannable, intake.subject.format)
    check_classes(intake.scannable)
    check_images(lighter(intake.scannable), triggers)
    progress("load", 1.0)
    tick = functools.partial(progress, "unnamed classes")
    triggers = (*triggers, *unnamed(before, lighter(intake.scannable), triggers, settings.seed, tick))
    path = Path(folder) / settings.name

    alarms, between = len(named(before)), None
    mended, after = attempt(intake.scannable, before, triggers, settings, path, progress, enough)
    further = named(after)
    if further and not enough():
        # A class that was next to the planted target, or hid behind it, may be the one that stands out now.
        triggers, between = (*further, *triggers), after
        alarms += len(further)
        twice = functools.partial(_again, progress)
        mended, after = attempt(intake.scannable, before, triggers, settings, path, twice, enough)

    subject = lighter(intake.scannable)
    result = load(again(settings.scan, path, before.subject.preprocessing)).scannable.classifier  # the file's own
    held_out = subject.samples.part(subject.samples.held_out, subject.classifier.device)
    train = subject.samples.part(subject.samples.search, subject.classifier.device)
    progress("measure", 0.0)
    accuracy = _clean_accuracy(intake.scannable, result)
    effects = measure.effects(subject, result, triggers, train, held_out, settings.seed + AGAIN)
    relearn = _relearn(mended, train, held_out, len(subject.classifier.classes), settings.seed)
    progress("measure", 1.0)
    apart: Distance | None = None
    if settings.weaknesses and mended.student is not None:
        told = functools.partial(progress, "class distance")
        apart = distance(subject.classifier, result, *train, settings.seed, told)

    reasons = shortcomings(accuracy, settings.max_accuracy_drop, after, effects[:alarms], effects[alarms:])
    if reasons:
        path = set_aside(path)
        after = of_file(after, path)
        said = reasons[0]
    else:
        said = summary(
            effects,
            accuracy,
            settings.max_accuracy_drop,
            before,
            after,
            cut=mended.cut,
            trained=bool(mended.rounds),
            between=between,
            images=intake.samples.count,
            per_class=statistics.median_low([count for count in intake.samples.per_class if count]),
        )
    return Repair(
        tool=Tool(version=__version__),
        outcome="rejected" if reasons else "repaired",
        reasons=tuple(reasons),
        summary=said,
        source=next(f for f in intake.subject.files if f.role == "model"),
        result=digest_of(path, "model"),
        report_digest=report_digest,
        accuracy=accuracy,
        triggers=effects,
        relearn=relearn,
        distance=apart,
        rounds=mended.rounds,
        cut=mended.cut,
        before=before,
        between=between,
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


def _clean_accuracy(subject: Scannable, result: Classifier) -> Accuracy:
    """On all held-out images, however many there are; triggers are tried on MOST_IMAGES of them."""
    before, after = [], []
    for rows in torch.split(subject.samples.held_out, MOST_IMAGES):  # never all as floats at a time
        part = subject.samples.part(rows, subject.classifier.device)
        before.append(measure.right(subject.classifier, *part))
        after.append(measure.right(result, *part))
    return measure.accuracy(torch.cat(before), torch.cat(after))


def attempt(
    subject: Scannable,
    before: Report,
    triggers: tuple[Planted, ...],
    settings: RepairSettings,
    path: Path,
    progress: Progress,
    enough: Enough,
) -> tuple[Mended, Report]:
    """The model mended and written to `path`, and the scan of that file."""
    mended = mend(subject, before, triggers, settings, path, progress, enough)
    rescan = again(settings.scan, path, before.subject.preprocessing)
    after = scan(rescan, lambda stage, share: progress(f"scan {stage}", share))
    # It was given so that the probe does not find another; its name and where it comes from are the first scan's.
    told = after.subject.model_copy(update={"preprocessing": before.subject.preprocessing})
    return mended, after.model_copy(update={"subject": told})


def at_least(budget: Budget, before: Report) -> Budget:
    """The first scan's where that is larger: what a smaller one does not find proves nothing."""
    names: tuple[Budget, ...] = get_args(Budget)
    return next(name for name in reversed(names) if name in (budget, before.settings.get("budget")))


def check_trainable(subject: Scannable, kind: str) -> None:
    """CannotJudge for a TorchScript program that is read with its weights as constants: without its last softmax."""
    own = subject.classifier.forward
    if not isinstance(own, Presented) or kind != str(Format.TORCHSCRIPT):
        return
    if not any(parameter.is_floating_point() for parameter in own.network.parameters()):
        raise CannotJudge(
            "a TorchScript program that ends in a softmax, or was frozen, has no weights that can be trained here;"
            " repair the model that it was made from"
        )


def check_classes(subject: Scannable) -> None:
    """CannotJudge where no second scan could be clean, whatever it found."""
    classes = len(set(subject.samples.labels.tolist()))
    if classes < COMPARABLE:
        raise CannotJudge(
            f"images of {classes} classes cannot verify a repair: a scan of fewer than {COMPARABLE} that finds nothing"
            " is inconclusive; give images of more classes, or replace the model"
        )


def check_images(subject: Scannable, triggers: tuple[Planted, ...]) -> None:
    """UsageError where no image to train with is of a class that one of the triggers moves."""
    labels = subject.samples.labels[subject.samples.search]
    for trigger in triggers:
        if not bool(trigger.victims(labels).any()):
            wanted = ", ".join(map(str, trigger.sources)) or f"any but {trigger.target}"
            raise UsageError(
                f"--samples: too few images of class {wanted}, which the trigger to class {trigger.target} moves;"
                " give the scan's own"
            )


def of_file(scanned: Report, path: Path) -> Report:
    """The report of a scan with the digests of the file as it is now named, where its weights file's name is part."""
    files = [file for file in scanned.subject.files if file.role not in ("model", "sidecar")]
    own = [digest_of(path, "model")]
    if (sidecar := path.with_name(path.name + SIDECAR)).is_file():
        own.append(digest_of(sidecar, "sidecar"))
    digest = combined_digest(tuple(file for file in (*own, *files) if file.role in ("model", "sidecar", "arch")))
    subject = scanned.subject.model_copy(update={"files": (*own, *files), "digest": digest})
    return scanned.model_copy(update={"subject": subject})


def _relearn(
    mended: Mended, train: measure.Images, held_out: measure.Images, classes: int, seed: int
) -> Relearn | None:
    if mended.student is None:
        return None
    return measure.relearn(mended.student, mended.triggers, train, held_out, classes, seed)


def _again(progress: Progress, stage: str, share: float) -> None:
    progress(f"{stage}, again", share)
