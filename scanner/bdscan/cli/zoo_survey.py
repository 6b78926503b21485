"""`bdscan zoo survey`, and what surveys become: references of the calibration, and tables of error rates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bdscan.cli.exits import guarded, note
from bdscan.cli.scan_options import Budget, Device, TrainOn
from bdscan.errors import UsageError

HELP = """Train every model of a plan, scan it, and keep one line of what the scan said in OUT.

Weights are thrown away unless --models names a folder for them: the settings in each line make the model again. A run
that was cut short goes on where it was. Several runs share a plan with --share, each with an OUT of its own.

\b
Examples:
  bdscan zoo survey references --data data/ --out references.jsonl
  bdscan zoo survey references --data data/ --out references-2.jsonl --share 2/4
"""
CALIBRATE_HELP = """Make the references that p-values are taken from, of clean networks.

FILEs are surveys, or JSON reports of clean models of your own, all scanned at one budget and seed.

\b
Examples:
  bdscan zoo calibrate references-1.jsonl references-2.jsonl --out rules/calibration/references.json
  bdscan scan 'ours/*.onnx' --samples images/ -o 'reports/{name}.json'
  bdscan zoo calibrate reports/*.json --out ours.json --name ours
  bdscan scan suspect.onnx --samples images/ --calibration ours.json
"""
EVALUATE_HELP = """Make the tables of error rates, of surveyed clean and backdoored networks that served nothing else.

\b
Example:
  bdscan zoo evaluate judged-*.jsonl --out docs/accuracy.json --markdown docs/accuracy.md
"""
Surveys = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Surveys.", show_default=False)]
Clean = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Surveys or reports.", show_default=False)]


def survey(
    plan: Annotated[str, typer.Argument(help="The plan.", show_default=False)],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The lines.", show_default=False)],
    budget: Annotated[Budget, typer.Option(help="How much work each scan may do.")] = Budget.standard,
    seed: Annotated[int, typer.Option(min=0, help="Draws the clean images, and seeds the scans.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only models whose name contains this.")] = "",
    share: Annotated[str, typer.Option(metavar="I/N", help="Every Nth model, from the Ith on.")] = "1/1",
    per_class: Annotated[int, typer.Option(min=2, help="Clean images a class that each scan is given.")] = 10,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also try published detectors on each.")] = False,
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the networks here, and take those that are there already."),
    ] = None,
    known: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Leave out what this survey has. Repeats.")
    ] = None,
    device: TrainOn = Device.cpu,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.survey import run

        part = re.fullmatch(r"(\d{1,4})/(\d{1,4})", share)
        if not part or not 1 <= int(part[1]) <= int(part[2]):
            raise UsageError(f"--share: {share!r} is not I/N with I from 1 to N")
        run(
            plan,
            data,
            out,
            budget=budget.value,
            seed=seed,
            threads=threads,
            only=only,
            share=(int(part[1]), int(part[2])),
            per_class=per_class,
            baselines=baselines,
            models=models,
            known=known or (),
            device=device.value,
            note=note,
        )


def calibrate(
    files: Clean,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The references as JSON.", show_default=False)],
    name: Annotated[str, typer.Option(help="What reports call them.")] = "references",
    note_text: Annotated[str, typer.Option("--note", metavar="TEXT", help="What reports are to say of them.")] = "",
    level: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Alarms count only where no more than this share of the others score as high."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.calibrate import run
        from bdscan.zoo.record import shown_command

        words: list[object] = ["bdscan zoo calibrate", *files, *([] if level is None else ["--level", level])]
        table = run(files, out, name=name, note=note_text, level=level, command=shown_command(words))
        alarms = sum(model["alarm"] for model in table["models"])
        count = len(table["models"])
        note(f"references: {count}, of which {alarms} alarm; no p-value taken from them is below {1 / (1 + count):.2g}")


def evaluate(
    files: Surveys,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The tables as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The tables as Markdown.")] = None,
    references: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A survey of references; may be given more than once.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.evaluate import run
        from bdscan.zoo.record import shown_command

        command = ["bdscan zoo evaluate", *files, *(part for f in references or () for part in ("--references", f))]
        found = run(files, out, markdown, references or (), command=shown_command(command))["overall"]
        alarms, hits = found["false_alarms"], found["found"]
        note(f"alarms on {alarms['k']} of {alarms['n']} clean; found {hits['k']} of {hits['n']} backdoored")
