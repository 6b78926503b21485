"""`bdscan zoo data`: data sets of torchvision as the files that the zoo reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note

HELP = """Write data sets of torchvision (mnist, fashion, cifar10, gtsrb) as the zoo's files.

They are taken from --root, torchvision's own folder. Nothing is fetched unless --download asks torchvision to.

\b
Examples:
  bdscan zoo data mnist cifar10 --to data/ --root ~/torchvision
  bdscan zoo data mnist --to data/ --download
"""


def data(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets.", show_default=False)],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder for one .npz a data set.", show_default=False)],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="torchvision's folder [default: torchvision, in --to].")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchvision fetch what is not there.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.from_torchvision import fetch

        fetch(names, to, (root or to / "torchvision").expanduser(), download=download, note=note)
