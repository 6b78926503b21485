"""`bdscan render`: another format of a saved report, without the model and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bdscan.cli.exits import guarded

if TYPE_CHECKING:
    from bdscan.repair.outcome import Repair
    from bdscan.report import Report

HELP = """Make another format of a saved JSON report.

The exit code says whether the report could be read and written, not what the verdict is. The report of a repair
(OUTPUT.repair.json) can be shown here and made into HTML.

\b
Examples:
  bdscan render report.json
  bdscan render report.json -o report.html -o report.sarif -o report.cdx.json
  bdscan render report.json --format markdown >> "$GITHUB_STEP_SUMMARY"
  bdscan render repaired.onnx.repair.json -o repair.html
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
        from bdscan import saved
        from bdscan.cli import outputs
        from bdscan.repair.outcome import Repair
        from bdscan.report import Report

        planned = outputs.plan(output or [], format_name, [report])
        content = saved.read(report)
        repair = saved.is_repair(content)
        value = saved.parse(Repair, content, report) if repair else saved.parse(Report, content, report)
        outputs.write(value, planned)
        if not planned:
            _show(value)


def _show(value: Report | Repair) -> None:
    from bdscan.report import Report

    if isinstance(value, Report):
        from bdscan.cli.terminal import Stdout
        from bdscan.formats.terminal import print_report

        print_report(value, Stdout())
    else:
        from bdscan.cli.repair import show

        show(value)
