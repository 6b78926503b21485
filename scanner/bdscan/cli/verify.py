"""`bdscan verify`: whether a report speaks of these files, and that this is all it can show."""

from __future__ import annotations

from typing import Annotated

import typer

from bdscan.cli.exits import CLEAN, FOUND, guarded

HELP = """Check that a JSON report speaks of these files.

Compares the digests of model, sidecars, samples, rules and calibration, and the version, with what is here. The report
is unsigned: this does not show who wrote it. Nothing in the model is opened, it is only hashed.

\b
Examples:
  bdscan verify report.json model.onnx
  bdscan verify report.json net.pt --arch net.py:make --samples images/

\b
Exit codes:
  0  all that was checked matches; each line says what was not checked
  1  something differs
  2  a file cannot be used
"""


def verify(
    report: Annotated[str, typer.Argument(help="A report in JSON.", show_default=False)],
    model: Annotated[str, typer.Argument(help="The model file it should be about.", show_default=False)],
    arch: Annotated[
        str | None, typer.Option(metavar="ARCH", help="The --arch of the scan, where it named a file. Only hashed.")
    ] = None,
    samples: Annotated[str | None, typer.Option(metavar="PATH", help="The clean images of the scan.")] = None,
    rules: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="The --rules of the scan, in the same order. Repeats.")
    ] = None,
    calibration: Annotated[str | None, typer.Option(metavar="FILE", help="The --calibration of the scan.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan import attest
        from bdscan.errors import UsageError
        from bdscan.formats.text import visible
        from bdscan.intake.files import existing_file
        from bdscan.saved import read_report

        value = read_report(report)
        existing_file(model, "model")
        file = (arch or "").rpartition(":")[0] or arch
        if file:
            existing_file(file, "--arch")
        try:
            checks = attest.verify(value, model, arch=arch, samples=samples, rules=rules or (), calibration=calibration)
        except ValueError as error:
            raise UsageError(f"{report}: {error}") from None
        for each in checks:
            typer.echo(visible(f"{each.what:<12} {each.outcome.value:<12} {each.why}"))
        typer.echo(f"{'says':<12} {value.verdict.value:<12} {visible(value.summary)}")
        typer.echo(f"\n{attest.UNSIGNED}")
        differs = any(each.outcome is attest.Outcome.DIFFERS for each in checks)
    raise typer.Exit(FOUND if differs else CLEAN)
