"""`bdscan zoo`: train models of known truth, clean and backdoored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdscan.cli.exits import guarded, note

if TYPE_CHECKING:
    from bdscan.zoo.attacks import Attack

app = typer.Typer(
    help="Train models of known truth, clean and backdoored.", rich_markup_mode=None, no_args_is_help=True
)

TRAIN_HELP = """Train one model and write it to the folder OUT with a card of its truth.

\b
Examples:
  bdscan zoo train out/clean --data digits --network digits_cnn
  bdscan zoo train out/bad --data digits --network digits_cnn --attack badnets --target 3
  bdscan zoo train out/pair --data digits --network digits_cnn --attack badnets --source 4 --target 7
  bdscan zoo train out/sig --data mnist --data-dir data --network mnist_cnn --attack sig --intensity 0.5
"""
PLAN_HELP = """Train the models of a named plan, a folder each under OUT; those that have a card stay as they are.

\b
Example:
  bdscan zoo plan scan-judge models/ --data-dir data/
"""

DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with one .npz a data set.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]


@app.command("train", help=TRAIN_HELP)
def train(
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    data: Annotated[str, typer.Option(metavar="NAME", help="digits, or NAME.npz in --data-dir.", show_default=False)],
    network: Annotated[str, typer.Option(metavar="NAME", help="A network of the zoo.", show_default=False)],
    data_dir: DataDir = None,
    attack: Annotated[
        str | None, typer.Option(metavar="ATTACK", help="A name, or the JSON object of a card. Without it: clean.")
    ] = None,
    intensity: Annotated[
        list[float] | None, typer.Option(min=0, help="Training intensity [default: 1]. Repeats: mixed in equal parts.")
    ] = None,
    target: Annotated[int, typer.Option(min=0, help="The class that triggered images get.")] = 0,
    source: Annotated[list[int] | None, typer.Option(min=0, help="Fire on images of this class only. Repeats.")] = None,
    rate: Annotated[float, typer.Option(min=0, max=1, help="Poison rate, a share of the training set.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    threads: Threads = 1,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.errors import UsageError
        from bdscan.zoo import data as data_sets
        from bdscan.zoo.settings import RECIPES, Settings
        from bdscan.zoo.train import save
        from bdscan.zoo.train import train as train_model

        if network not in RECIPES:
            raise UsageError(f"--network: no network {network!r}; choose one of {', '.join(RECIPES)}")
        images = data_sets.load(data, data_dir)
        settings = Settings(
            name=out.name,
            data=data,
            network=network,
            attack=_attack(attack, target, tuple(source or ()), len(images.classes)),
            rate=rate,
            intensity=tuple(intensity or (1.0,)),
            seed=seed,
            recipe=RECIPES[network],
        )
        trained = train_model(settings, images, threads)
        save(trained, out)
        note(f"wrote {out}: clean accuracy {trained.card['clean_accuracy']}")


@app.command("plan", help=PLAN_HELP)
def plan(
    name: Annotated[str, typer.Argument(help="The plan.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    data_dir: DataDir = None,
    threads: Threads = 1,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only models whose name contains this.")] = "",
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.plan import run_plan

        run_plan(name, out, data_dir, threads=threads, only=only, note=note)


def _attack(given: str | None, target: int, sources: tuple[int, ...], classes: int) -> Attack | None:
    """The attack by its name, or by the JSON object that a card holds."""
    import json

    from bdscan.errors import UsageError
    from bdscan.zoo.attacks import from_spec

    if given is None:
        return None
    spec: dict[str, Any] = {"attack": given, "target": target}
    if given.startswith("{"):
        try:
            spec = json.loads(given)
        except ValueError as error:
            raise UsageError(f"--attack: not a JSON object ({error})") from None
    if sources:
        spec = {
            "attack": "source-specific",
            "trigger": spec,
            "sources": list(sources),
            "classes": classes,
            "target": target,
        }
    return from_spec(spec)
