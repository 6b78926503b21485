"""One attempt at a repair: cut the branches, unlearn the triggers, write the result."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bdscan.detectors.common import lighter
from bdscan.errors import CannotJudge
from bdscan.intake.classifier import Scannable
from bdscan.intake.load import load
from bdscan.intake.preprocessing import as_words
from bdscan.onnx.prepare import parse
from bdscan.onnx.write import write_model
from bdscan.repair import measure
from bdscan.repair.branch import cut_out
from bdscan.repair.outcome import Cut, Round
from bdscan.repair.planted import Planted, branches
from bdscan.repair.rounds import Enough, Plan, repair_weights
from bdscan.repair.student import Student
from bdscan.repair.write import write_like
from bdscan.report import Preprocessing, Report
from bdscan.settings import RepairSettings, Settings

Progress = Callable[[str, float], None]
WORKS = 0.1  # of the held-out images, of a trigger that is still there once the branch is gone


@dataclass(frozen=True)
class Mended:
    """How the file was made. `student`: where weights were trained, to unlearn `triggers`."""

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
) -> Mended:
    """Cut the branches that the report finds, unlearn the triggers that are left, and write the result to `path`."""
    plan = replace(Plan(), max_accuracy_drop=settings.max_accuracy_drop)
    train = functools.partial(repair_weights, plan=plan, seed=settings.seed, progress=progress, enough=enough)
    if not branches(before):
        student, rounds = train(lighter(subject), triggers)
        write_like(_finite(student).network, Path(settings.model), path)
        return Mended(tuple(triggers), student, rounds)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # external weights cannot be written over themselves
        half = Path(folder) / path.name
        progress("cut", 0.0)
        cut = cut_out(subject, Path(settings.model), half)  # on all images: each is a proof more
        progress("cut", 1.0)
        rest = lighter(load(again(settings.scan, half, before.subject.preprocessing)).scannable)
        left = still_working(rest, triggers)
        if not left:
            write_model(path, parse(half), half)
            return Mended(cut=cut)
        student, rounds = train(rest, left)
        write_like(_finite(student).network, half, path)
    return Mended(left, student, rounds, cut)


def _finite(student: Student) -> Student:
    if not all(bool(torch.isfinite(weight).all()) for weight in student.weights):
        raise CannotJudge("the training diverged (weights that are no numbers); nothing was written")
    return student


def still_working(subject: Scannable, triggers: Sequence[Planted]) -> tuple[Planted, ...]:
    """Those that move more than a tenth of the held-out images: others lived in the branch alone."""
    images, labels = subject.samples.part(subject.samples.held_out, subject.classifier.device)
    known = measure.right(subject.classifier, images, labels)
    rates = [measure.success(subject.classifier, trigger, images, labels, known) for trigger in triggers]
    return tuple(t for t, rate in zip(triggers, rates, strict=True) if rate.value > WORKS or not rate.n)


def again(settings: Settings, path: Path, presented: Preprocessing) -> Settings:
    """The settings of a second scan: of the written file, with pixels as the first scan presented them."""
    if not path.is_file():
        raise CannotJudge("the repaired model was not written")
    size = [word for word in (settings.preprocessing or "").split() if word.startswith("size=")]
    words = " ".join([as_words(presented), *size])
    return settings.model_copy(update={"model": str(path), "preprocessing": words})
