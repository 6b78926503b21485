"""`bdscan zoo enhanced-table`: what an attacker gains who trains a trigger through transformations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note

HELP = """Train a patch, plainly and through flip and shrink-pad, and try both behind these transformations.

\b
Examples:
  bdscan zoo enhanced-table digits digits_bn --out docs/enhanced.json --markdown docs/enhanced.md
  bdscan zoo enhanced-table mnist mnist_cnn --data data/ --out enhanced.json
"""


def enhanced_table(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="A data set.", show_default=False)],
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="A network of the zoo.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table as JSON.", show_default=False)],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with one .npz a data set.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The table as Markdown.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks of each kind.")] = 3,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.errors import UsageError
        from bdscan.zoo.enhanced_table import run
        from bdscan.zoo.record import shown_command
        from bdscan.zoo.settings import RECIPES

        if network not in RECIPES:
            raise UsageError(f"NETWORK {network}: the zoo has {', '.join(sorted(RECIPES))}")
        words: list[object] = ["bdscan zoo enhanced-table", dataset, network]
        words += ["--data", data] if data is not None else []
        words += ["--out", out, *(["--markdown", markdown] if markdown is not None else []), "--seeds", seeds]
        run(dataset, data, network, out, markdown, command=shown_command(words), seeds=seeds, note=note)
