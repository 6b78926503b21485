"""The `bdscan` command."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from bdscan import __version__
from bdscan.cli import detectors, limits, profile, render, repair, scan, verify, zoo
from bdscan.cli.exits import INTERRUPTED, note

HELP = """Scan an image classifier that you did not train for planted backdoors.

\b
Start here:
  bdscan scan model.onnx --samples images/ -o report.html

`bdscan scan --help` has more examples and the exit codes; `bdscan limits` says what a verdict means.
"""

app = typer.Typer(
    help=HELP,
    rich_markup_mode=None,  # plain help: the same in every terminal, and rich is not imported for it
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("scan", help=scan.HELP)(scan.scan)
app.command("repair", help=repair.HELP)(repair.repair)
app.command("profile", help=profile.HELP)(profile.profile)
app.command("render", help=render.HELP)(render.render)
app.command("verify", help=verify.HELP)(verify.verify)
app.command("detectors", help=detectors.HELP)(detectors.detectors)
app.command("limits", help=limits.HELP)(limits.limits)
app.add_typer(zoo.app, name="zoo")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bdscan {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point; the exit code is the verdict's. What the parser refuses is one line, as every other error is."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character must not change the exit code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(prog_name="bdscan", standalone_mode=False)
    except typer.Abort:
        code = INTERRUPTED
    except TyperException as error:
        code = error.exit_code
        _tell(error)
    sys.exit(code)


def _tell(error: TyperException) -> None:
    text, context = error.format_message(), getattr(error, "ctx", None)
    if text.startswith("Usage:"):  # a command that was given nothing at all answers with its help
        typer.echo(text, err=True)
    else:
        text = text.replace("Value error, ", "").rstrip(".")
        see = " See" if text.endswith("?") else "; see"  # a question has its own mark
        note(f"{text}{see} {context.command_path if context else 'bdscan'} --help")


if __name__ == "__main__":
    main()
