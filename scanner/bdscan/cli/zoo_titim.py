"""`bdscan zoo titim`: training against inference intensity of triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note
from bdscan.cli.scan_options import Budget, Device, TrainOn
from bdscan.errors import UsageError

HELP = """Train each attack at several intensities, try each network at all of them, scan it, and draw the heat maps.

Attacks that OUT has stay as they are: a run that was cut short goes on.

\b
Example:
  bdscan zoo titim --data data/ --out docs/titim/titim.json --pages docs/titim
"""


def titim(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The grids as JSON.", show_default=False)],
    pages: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the page and its heat maps.")] = None,
    name: Annotated[str, typer.Option("--set", metavar="NAME", help="Data set.")] = "mnist",
    network: Annotated[str, typer.Option(metavar="NAME", help="A network of the zoo.")] = "mnist_cnn",
    attack: Annotated[list[str] | None, typer.Option(metavar="ATTACK", help="Only these. Repeats.")] = None,
    limit: Annotated[int, typer.Option(min=100, help="Training images.")] = 12_000,
    budget: Annotated[Budget, typer.Option(help="How much work each scan may do.")] = Budget.standard,
    seed: Annotated[int, typer.Option(min=0, help="Draws images, and seeds the scans.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    device: TrainOn = Device.cpu,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.record import shown_command
        from bdscan.zoo.settings import RECIPES
        from bdscan.zoo.titim import ATTACKS, run

        for one in attack or ():
            if one not in ATTACKS:
                raise UsageError(f"--attack: no attack {one!r} here; choose of {', '.join(ATTACKS)}")
        if network not in RECIPES:
            raise UsageError(f"--network: no network {network!r}; choose one of {', '.join(RECIPES)}")
        words: list[object] = ["bdscan zoo titim", "--data", data, "--set", name, "--network", network]
        words += ["--limit", limit, "--budget", budget, "--seed", seed, "--threads", threads]
        words += [] if device is Device.cpu else ["--device", device]
        run(
            name,
            network,
            data,
            out,
            pages,
            command=shown_command(words),
            attacks=attack or (),
            limit=limit,
            budget=budget.value,
            seed=seed,
            threads=threads,
            device=device.value,
            note=note,
        )
