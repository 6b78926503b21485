"""`bdscan zoo p4-tables`: the tables of Isolate Trigger made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note

HELP = """Make P4's tables II, IV, V and VI (MNIST and GTSRB) again: six methods and `bdscan scan` on the same networks.

MODELS are folders of `bdscan zoo train`, loaded in this process without isolation: only networks whose origin you know.
Those that are in none of P4's rows are left out. What OUT has stays with --resume, method by method.

\b
Example:
  bdscan zoo p4-tables zoo/ --data data/ --out docs/p4-tables.json --markdown docs/p4-tables.md --resume
"""


def p4_tables(
    models: Annotated[list[Path], typer.Argument(metavar="MODELS...", help="Networks.", show_default=False)],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The tables as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The tables as Markdown.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this one of the page's methods, e.g. MESA. Repeats."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the clean images, and seeds the methods.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only networks whose name contains this.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Keep the rows that OUT has.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.p4_tables import run
        from bdscan.zoo.record import shown_command

        words: list[object] = ["bdscan zoo p4-tables", *models, "--data", data, "--seed", seed, "--threads", threads]
        words += [*(word for name in method or () for word in ("--method", name)), *(["--only", only] if only else [])]
        words += ["--resume"] if resume else []  # rows of earlier runs may be in the table
        run(
            models,
            data,
            out,
            markdown,
            command=shown_command(words),
            methods=tuple(method or ()),
            seed=seed,
            threads=threads,
            only=only,
            resume=resume,
            note=note,
        )
