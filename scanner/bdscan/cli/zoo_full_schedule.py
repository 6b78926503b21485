"""`bdscan zoo full-schedule`: published inversion at its own length."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note

HELP = """Invert triggers on P1's whole schedule, by P1's method and Neural Cleanse's, and scan the same network.

MODELS are folders of `bdscan zoo train` or of `bdscan zoo survey --models`, loaded in this process without isolation:
only networks whose origin you know. Rows that OUT has stay. A small network takes some ten minutes.

\b
Example:
  bdscan zoo full-schedule zoo/ --data data/ --out docs/full-schedule.json --markdown docs/full-schedule.md
"""


def full_schedule(
    models: Annotated[list[Path], typer.Argument(metavar="MODELS...", help="Networks.", show_default=False)],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The table as Markdown.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the clean images, and seeds the methods.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Of 100 images a label.")] = 1000,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.full_schedule import run
        from bdscan.zoo.record import shown_command

        words: list[object] = ["bdscan zoo full-schedule", *models, "--data", data, "--out", out]
        words += ["--markdown", markdown] if markdown is not None else []
        words += ["--seed", seed, "--threads", threads, "--epochs", epochs]
        run(
            models,
            data,
            out,
            markdown,
            command=shown_command(words),
            seed=seed,
            threads=threads,
            epochs=epochs,
            note=note,
        )
