"""`bdscan zoo branch-table`: what the graph check finds of branches planted in networks' graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note

HELP = """Plant trigger branches in the graphs of networks, and tell which ones the graph check finds.

\b
Example:
  bdscan zoo branch-table models --data data --out docs/branches.json --markdown docs/branches.md
"""


def branch_table(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Networks with cards.", show_default=False)
    ],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The table as Markdown.")] = None,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Networks whose name contains this.")] = "",
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.branch_table import run
        from bdscan.zoo.record import shown_command

        words: list[object] = ["bdscan zoo branch-table", *folders, "--data", data, "--out", out]
        words += ["--markdown", markdown] if markdown is not None else []
        words += ["--only", only] if only else []
        run(folders, data, out, markdown, command=shown_command(words), only=only, note=note)
