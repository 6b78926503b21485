"""One or many scans as one gate: reports written as each scan ends, the lines about them, one exit code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from bdscan import executor
from bdscan.cli import outputs, progress, summary
from bdscan.cli.exits import CLEAN, FOUND, NOT_JUDGED, UNUSABLE, FailOn, exit_code, note
from bdscan.cli.outputs import Output
from bdscan.cli.place import in_repository
from bdscan.cli.summary import Row
from bdscan.cli.terminal import Stdout
from bdscan.errors import CannotJudge, UsageError
from bdscan.report import Report
from bdscan.settings import Settings
from bdscan.waivers import Entry, apply_waivers, problems, standing, today

WORST_FIRST = (FOUND, NOT_JUDGED, UNUSABLE, CLEAN)


@dataclass(frozen=True)
class Gate:
    """How scans run, where their reports go, and what counts. `planned` holds the outputs of each model."""

    planned: tuple[tuple[Output, ...], ...]
    scan: executor.Scan
    fail_on: FailOn = FailOn.suspicious
    waivers: tuple[Entry, ...] = ()
    jobs: int = 1
    config: str = ""
    quiet: bool = False
    summary: str | None = None


def run(settings: Sequence[Settings], gate: Gate) -> int:
    """Scan all, write all; the exit code of the worst. The error of a lone scan is raised."""
    rows: dict[int, Row] = {}
    reports: dict[int, Report] = {}
    errors: list[Exception] = []
    with (
        progress.shown(gate.quiet, [each.model for each in settings]) as shown,
        closing(executor.run_all(settings, gate.scan, shown.watch, gate.jobs)) as scans,
    ):
        for ended in scans:
            row = rows[ended.index] = _settle(ended, settings[ended.index].model, gate, reports, errors)
            shown.ended(ended.index, f"{summary.word(row)} in {row.seconds:.1f} s")
    ordered = [rows[index] for index in sorted(rows)]
    code = worst([row.exit_code for row in ordered])
    if gate.summary is not None:
        summary.write(gate.summary, ordered, code)
    if len(settings) == 1 and errors:
        raise errors[0]
    if len(settings) > 1:
        summary.show(ordered, code)
    elif reports:
        _say(reports[0], gate)
    for line in problems([reports[index] for index in sorted(reports)]):
        note(line)  # also where --quiet is given: a waiver that has expired changes what the pipeline does
    if not gate.quiet:
        for line in _below(ordered, gate.fail_on):
            note(line)
    return code


def worst(codes: Sequence[int]) -> int:
    """Over several models: 1 before 3 before 2 before 0."""
    return next((code for code in WORST_FIRST if code in codes), NOT_JUDGED)


def _settle(ended: executor.Ended, model: str, gate: Gate, reports: dict[int, Report], errors: list[Exception]) -> Row:
    """Judge and write what one scan came to: a report, or an error, which is the row of its model only."""
    planned = gate.planned[ended.index]
    try:
        if isinstance(ended.outcome, Exception):
            raise ended.outcome
        report = _completed(ended.outcome, model, planned, gate)
        outputs.write(report, planned)
    except Exception as error:
        errors.append(error)
        return summary.failed(model, error, _code(error), ended.seconds)
    reports[ended.index] = report
    stands = standing(report)
    return Row(
        model=model,
        verdict=report.verdict.value,
        standing=stands.value,
        exit_code=exit_code(stands, gate.fail_on, looked=not report.lacking),
        reason=report.summary,
        waived=sum(finding.waived is not None for finding in report.findings),
        digest=report.subject.digest,
        reports=tuple(output.path for output in planned),
        seconds=round(ended.seconds, 3),
        cache=report.run.cache,
    )


def _code(error: Exception) -> int:
    if isinstance(error, UsageError | CannotJudge):
        return error.exit_code
    return UNUSABLE if isinstance(error, OSError) else NOT_JUDGED


def _completed(report: Report, model: str, planned: tuple[Output, ...], gate: Gate) -> Report:
    """With what only this process knows: the worker has another view of the files, and no say in what is waived."""
    known = {
        "outputs": tuple(output.path for output in planned),
        "model_in_repository": in_repository(model),
        "jobs": gate.jobs,
        "config": gate.config,
    }
    waived = apply_waivers(report, gate.waivers, today())
    return waived.model_copy(update={"run": waived.run.model_copy(update=known)})


def _say(report: Report, gate: Gate) -> None:
    """The terminal report where stdout is free for it; notes on stderr."""
    (planned,) = gate.planned
    to_stdout = any(output.path == outputs.STDOUT for output in planned)
    if not to_stdout and not (gate.quiet and planned):
        from bdscan.formats.terminal import print_report

        print_report(report, Stdout())
    if gate.quiet:
        return
    if to_stdout:
        note(f"{report.verdict}: {report.summary}")
    for output in planned:
        if output.path != outputs.STDOUT:
            note(f"wrote {output.path}")


def _below(rows: Sequence[Row], fail_on: FailOn) -> list[str]:
    """Why an alarm did not count, said each time: a waiver or --fail-on must not go unnoticed."""
    lines = []
    for row in rows:
        whose = f"{row.model}: " if len(rows) > 1 else ""
        if row.standing != row.verdict:
            count = f"{row.waived} waived finding{'s' if row.waived > 1 else ''}"
            lines.append(f"{whose}the verdict is {row.verdict}; {count} aside it is {row.standing}, which counts")
        if row.standing == "suspicious" and row.exit_code != FOUND:
            why = "" if row.exit_code == CLEAN else ", because a stage that a clean verdict needs did not run"
            lines.append(f"{whose}the verdict is suspicious, below --fail-on {fail_on}: exit code {row.exit_code}{why}")
    return lines
