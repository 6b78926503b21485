"""`bdscan render`: another format of a saved report, without the model and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdscan.cli.exits import guarded

if TYPE_CHECKING:
    from bdscan.report import Report

HELP = """Make another format of a saved JSON report.

The exit code says whether the report could be read and written, not what the verdict is.

\b
Examples:
  bdscan render report.json
  bdscan render report.json -o report.html -o report.sarif -o report.cdx.json
  bdscan render report.json --format markdown >> "$GITHUB_STEP_SUMMARY"
"""


def render(
    report: Annotated[str, typer.Argument(help="A report in JSON.", show_default=False)],
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; the suffix names the format. Repeats."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format where no suffix says it: json, html, text, sarif, junit, markdown, cyclonedx.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.cli import outputs

        planned = outputs.plan(output or [], format_name, [report])
        value = load(report)
        outputs.write(value, planned)
        if not planned:
            from bdscan.cli.terminal import Stdout
            from bdscan.formats.terminal import print_report

            print_report(value, Stdout())


def load(path: str) -> Report:
    """The report in a JSON file; `UsageError` where it is none, or larger than the worker itself may send."""
    from bdscan.errors import UsageError
    from bdscan.jail import wire

    cap = wire.CAPS[b"R"]
    try:
        with Path(path).open("rb") as file:
            content = file.read(4 * cap + 1)  # indented, a report is longer than on the wire
    except OSError as error:
        raise UsageError(f"cannot read {path!r} ({error.strerror}); check the path") from None
    if len(content) > 4 * cap:
        raise UsageError(f"{path!r} is larger than any report ({4 * cap} bytes)")
    try:
        frame = wire.parse(b"R", content)
    except wire.WireError as error:
        raise UsageError(f"{path!r} is no bdscan report of schema 1.0: {error}") from None
    from bdscan.report import Report

    assert isinstance(frame, Report)
    return frame
