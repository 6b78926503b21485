"""Where reports go: planned and checked before the scan starts, written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bdscan import atomic, destination
from bdscan.errors import UsageError
from bdscan.formats import FORMATS, format_for, render
from bdscan.repair.outcome import Repair
from bdscan.report import Report

STDOUT = "-"


@dataclass(frozen=True)
class Output:
    path: str  # as given; "-" is stdout
    format: str


def plan(
    paths: Sequence[str], format_name: str | None, inputs: Iterable[str] = (), option: str = "-o"
) -> tuple[Output, ...]:
    """The outputs that `-o` and `--format` ask for, each checked; `UsageError` for the first that cannot be written.

    The format follows the suffix; `format_name` is for `-` and for suffixes that say nothing, and alone means `-`.
    """
    if format_name is not None and format_name not in FORMATS:
        raise UsageError(f"--format: no format {format_name!r}; choose one of {', '.join(FORMATS)}")
    wanted = list(paths) or ([STDOUT] if format_name else [])
    outputs = tuple(Output(path, _format(path, format_name)) for path in wanted)
    targets = [output.path if output.path == STDOUT else os.path.realpath(output.path) for output in outputs]
    for output, target in zip(outputs, targets, strict=True):
        if targets.count(target) > 1:
            raise UsageError(f"-o {output.path}: named twice; give each report its own file")
        if output.path != STDOUT:
            destination.check(option, output.path, [output.path], inputs, devices=True)
    return outputs


def plan_summary(path: str, reports: Iterable[str], inputs: Iterable[str]) -> None:
    """`UsageError` where `--summary` cannot be written, or is a report's place."""
    if path == STDOUT:
        raise UsageError("--summary -: stdout shows the verdict; name a file")
    if os.path.realpath(path) in {os.path.realpath(report) for report in reports if report != STDOUT}:
        raise UsageError(f"--summary {path}: a report goes there (-o); choose another file")
    plan([path], "json", inputs, option="--summary")


def write(report: Report | Repair, outputs: Sequence[Output]) -> None:
    """Render all first, so that a format that fails leaves no file behind; stdout last."""
    rendered = [(output.path, _rendered(report, output).encode()) for output in outputs]
    for path, content in sorted(rendered, key=lambda item: item[0] == STDOUT):
        if path == STDOUT:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            put(path, content)


def put(path: str, content: bytes, option: str = "-o") -> None:
    """Write the file whole or not at all; `UsageError`, beginning with `option`, where that fails."""
    try:
        if destination.is_device(path):
            Path(path).write_bytes(content)
        else:
            atomic.write(path, content)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written ({error.strerror}); nothing was left there") from None


def _rendered(report: Report | Repair, output: Output) -> str:
    if isinstance(report, Report):
        return render(report, output.format)
    if output.format != "html":
        raise UsageError(f"-o {output.path}: the report of a repair can be made into html only, not {output.format}")
    from bdscan.formats import repair_html

    return repair_html.render(report)


def _format(path: str, format_name: str | None) -> str:
    try:
        return format_for(path)
    except ValueError as error:
        if format_name is None and path == STDOUT:
            return "json"
        if format_name is None:
            raise UsageError(f"-o {path}: {error}") from None
        return format_name
