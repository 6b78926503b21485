"""A whole profile: load, measure, advise, and write the guarded model where one is asked for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from bdscan import __version__
from bdscan.detectors.common import evenly
from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Scannable
from bdscan.intake.load import Intake, load
from bdscan.mitigate.advice import advise
from bdscan.mitigate.catalogue import Transformation, transformations
from bdscan.mitigate.given import given_trigger
from bdscan.mitigate.guard import check_name, write_guard
from bdscan.mitigate.outcome import Effect, Guard, Profile
from bdscan.mitigate.profile import Images, effect, images_of, profile_trigger
from bdscan.repair.outcome import Rate
from bdscan.repair.planted import Planted, named
from bdscan.report import Isolation, Report, Tool
from bdscan.saved import read_report
from bdscan.settings import ProfileSettings

Progress = Callable[[str, float], None]
MOST_TRIGGERS = 8
PLACES = {"quick": 2, "standard": 4, "thorough": 7}  # steps of the heat map in each direction
IMAGES = {"quick": 64, "standard": 256, "thorough": 2048}  # of the held-out part


def run(settings: ProfileSettings, folder: str, progress: Progress) -> Profile:
    """Profile the model; a guarded one lies in `folder` under `settings.guard`, if it was asked for and one helps.

    Raises:
        UsageError: no trigger is given and the report names none, the given one cannot be used, or the report is not
            of this model.
        CannotJudge: the model cannot be loaded. Where only its guarded form cannot be written, or does not compute the
            same, the profile says so.
    """
    began = time.perf_counter()
    report = read_report(settings.report, "--report")
    recovered = _recovered(report, settings)
    progress("load", 0.0)
    intake = load(settings.scan)
    if intake.subject.digest != report.subject.digest:
        raise UsageError("--report: it is of another model than this file (the digests differ); scan this one first")
    progress("load", 1.0)
    if settings.guard is not None:
        check_name(settings.guard, intake.subject.format)
    subject = intake.scannable
    own = _given(settings, subject)
    triggers = (*own, *recovered)[:MOST_TRIGGERS]
    more = len(own) + len(recovered) - MOST_TRIGGERS
    left_out = (f"{more} more triggers of the report",) if more > 0 else ()
    held_out, search = (_part(subject, which, IMAGES[settings.budget]) for which in ("held_out", "search"))
    profiles = []
    for i, trigger in enumerate(triggers):

        def tick(share: float, name: str = f"trigger {i + 1}") -> None:
            progress(name, share)

        profiles.append(profile_trigger(subject, trigger, held_out, PLACES[settings.budget], tick))
    catalogue = transformations(subject.classifier.shape, settings.seed)
    effects = []
    for i, each in enumerate(catalogue):
        effects.append(effect(subject.classifier, triggers, held_out, each))
        progress("transformations", (i + 1) / len(catalogue))
    by_text = {each.text: each for each in catalogue}

    def again(chosen: Effect) -> Effect:
        return effect(subject.classifier, triggers, search, by_text[chosen.text])

    before = max((each.success for each in profiles), key=lambda rate: rate.value)
    advice = advise(effects, before, settings.max_accuracy_drop, again, [each.family for each in profiles])
    chosen = by_text[advice.guard.effect.text] if advice.guard else None
    guard, error = _guard(settings, folder, intake, chosen, progress)
    return Profile(
        tool=Tool(version=__version__),
        files=intake.subject.files,
        report_digest=hashlib.sha256(Path(settings.report).read_bytes()).hexdigest(),
        shape=subject.classifier.shape,
        accuracy=Rate(hits=int(held_out.right.sum()), n=len(held_out.labels)),
        triggers=tuple(profiles),
        effects=tuple(effects),
        advice=advice,
        guard=guard,
        guard_error=error,
        not_measured=(*left_out, *_without(subject.classifier.shape)),
        isolation=Isolation(level="none"),
        settings={
            "seed": settings.seed,
            "threads": settings.threads,
            "budget": settings.budget,
            "weaknesses": settings.weaknesses,
            "trigger": settings.trigger,
            "trigger_sha256": settings.trigger and hashlib.sha256(Path(settings.trigger).read_bytes()).hexdigest(),
            "max_accuracy_drop": settings.max_accuracy_drop,
        },
        seconds=round(time.perf_counter() - began, 3),
    )


def _recovered(report: Report, settings: ProfileSettings) -> tuple[Planted, ...]:
    """The report's. UsageError where it has none and no other trigger is given."""
    found = named(report, settings.weaknesses)
    if not found and settings.trigger is None:
        natural = not settings.weaknesses and bool(named(report, True))
        hint = "; --weaknesses profiles natural weaknesses as well" if natural else ""
        raise UsageError(f"--report: it names no trigger to profile{hint}")
    return found


def _given(settings: ProfileSettings, subject: Scannable) -> tuple[Planted, ...]:
    if settings.trigger is None or settings.target is None:
        return ()
    shape, classes = subject.classifier.shape, len(subject.classifier.classes)
    return (given_trigger(settings.trigger, settings.target, settings.sources, shape, classes),)


def _part(subject: Scannable, which: str, most: int) -> Images:
    samples, device = subject.samples, subject.classifier.device
    rows = evenly(samples.held_out if which == "held_out" else samples.search, most)
    return images_of(subject.classifier, *samples.part(rows, device))


def _guard(
    settings: ProfileSettings, folder: str, intake: Intake, chosen: Transformation | None, progress: Progress
) -> tuple[Guard | None, str | None]:
    """The guard, or why there is none although one was advised."""
    if settings.guard is None or chosen is None:
        return None, None
    progress("guard", 0.0)
    try:
        guard = write_guard(intake, Path(settings.model), Path(folder) / settings.guard, chosen)
    except CannotJudge as error:
        return None, str(error)
    progress("guard", 1.0)
    return guard, None


def _without(shape: tuple[int, int, int]) -> tuple[str, ...]:
    return () if shape[0] in (1, 3) else (f"JPEG and saturation: images have {shape[0]} channels, not 1 or 3",)
