"""What a report attests: the digests of subject, samples, rules and calibration, and the version, checked again.

This shows which files a report speaks of. It does not show who wrote it: a report is not signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from bdscan import __version__
from bdscan.calibration import load_references
from bdscan.destination import beside
from bdscan.errors import UsageError
from bdscan.few_classes import held_to
from bdscan.intake.files import combined_digest, digest_of
from bdscan.report import COMPARISON, FileDigest, Report
from bdscan.resources import resource
from bdscan.rules import decide, describe_rules

UNSIGNED: Final = (
    "This report is unsigned: anyone can write one. What matches shows which files and rules it speaks of, not who "
    "made it, nor that its verdict is true. To know that, scan again."
)


class Outcome(StrEnum):
    MATCHES = "matches"
    DIFFERS = "differs"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    what: str
    outcome: Outcome
    why: str


def verify(
    report: Report,
    model: str,
    *,
    arch: str | None = None,
    samples: str | None = None,
    rules: Sequence[str] = (),
    calibration: str | None = None,
) -> tuple[Check, ...]:
    """Every part of the attestation against what is here. `UsageError` for a file that cannot be read.

    Only files that the caller names are opened, and sidecars beside the model: a report may be anyone's.
    """
    return (
        *_subject(report, model, arch),
        _samples(report, samples),
        _rules(report, rules),
        _calibration(report, calibration),
        _same("version", report.tool.version, __version__, "the report is of bdscan {0}, this is {1}"),
        _verdict(report),
    )


def _subject(report: Report, model: str, arch: str | None) -> list[Check]:
    """The model file with its sidecars and the `--arch` file, and the digest over all of them."""
    checks: list[Check] = []
    here: list[FileDigest] = []
    for claimed in report.subject.files:
        if claimed.role not in ("model", "sidecar", "arch"):
            continue
        place = _place(claimed, report, model, arch)
        name = {"model": "model", "sidecar": "sidecar", "arch": "--arch file"}[claimed.role]
        if place is None and claimed.role == "arch":
            checks.append(Check(name, Outcome.UNCHECKED, f"give --arch to check {claimed.path}"))
            here.append(claimed)
            continue
        if place is None or not place.is_file():
            checks.append(Check(name, Outcome.DIFFERS, f"{claimed.path} is not beside the model"))
            continue
        here.append(digest_of(place, claimed.role))
        checks.append(_same(name, claimed.sha256, here[-1].sha256, "the report has {0:.12}…, this is {1:.12}…", place))
    if not any(claimed.role == "model" for claimed in report.subject.files):
        checks.append(Check("model", Outcome.DIFFERS, "the report names no model file"))
    whole = combined_digest(tuple(here))
    checks.append(_same("subject", report.subject.digest, whole, "the report is on {0:.12}…, these files are {1:.12}…"))
    return checks


def _place(claimed: FileDigest, report: Report, model: str, arch: str | None) -> Path | None:
    """Where the file that a report claims lies here; None for one that nobody named, or outside the model's folder."""
    if claimed.role == "model":
        return Path(model)
    if claimed.role == "arch":
        file = (arch or "").rpartition(":")[0] or arch
        return Path(file) if file else None
    folder = Path(model).parent
    place = Path(beside(report, claimed.path, model))
    return place if place.resolve().is_relative_to(folder.resolve()) else None


def _samples(report: Report, samples: str | None) -> Check:
    if samples is None:
        return Check("samples", Outcome.UNCHECKED, f"give --samples to check {report.samples.path}")
    from bdscan.intake.raw_samples import pixels_digest
    from bdscan.intake.samples import read_samples

    seed = report.settings.get("seed")
    if not isinstance(seed, int):
        return Check("samples", Outcome.DIFFERS, "the report does not say the seed that drew them")
    here = pixels_digest(read_samples(samples, seed))
    return _same("samples", report.samples.digest, here, "the images of the scan were others than those that are here")


def _rules(report: Report, own: Sequence[str]) -> Check:
    if report.rules is None:
        return Check("rules", Outcome.UNCHECKED, "the report does not say which rules it used")
    if report.rules.own and not own:
        return Check("rules", Outcome.UNCHECKED, f"give the {report.rules.own} --rules of the scan to check them")
    try:
        here = describe_rules(resource("rules"), own, few_classes=_few(report))
    except OSError as error:
        raise UsageError(f"--rules: cannot read {error.filename!r} ({error.strerror}); check the path") from None
    return _same("rules", report.rules.sha256, here.sha256, "the report used other rules than those that are here")


def _few(report: Report) -> bool:
    """Whether its samples were of too few classes to compare triggers with each other."""
    return any(stage.name == COMPARISON for stage in report.stages)


def _calibration(report: Report, own: str | None) -> Check:
    if report.settings.get("calibration") and own is None:
        return Check("calibration", Outcome.UNCHECKED, "give the --calibration of the scan to check it")
    folder = held_to(resource("rules"), len(report.subject.classes), _few(report))
    here = load_references(folder, own).sha256
    return _same(
        "calibration", report.calibration.sha256, here, "the report used another calibration than the one here"
    )


def _verdict(report: Report) -> Check:
    follows = decide(report.findings, could_look=not report.lacking)
    return _same("verdict", report.verdict.value, follows.value, "the report says {0}, and its findings make it {1}")


def _same(what: str, claimed: str, here: str, otherwise: str, place: Path | None = None) -> Check:
    if claimed == here:
        shown = f"{here[:12]}…" if len(here) == 64 else here
        return Check(what, Outcome.MATCHES, shown)
    return Check(what, Outcome.DIFFERS, (f"{place}: " if place else "") + otherwise.format(claimed, here))
