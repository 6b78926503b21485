"""`bdscan profile`: what a recovered trigger survives, and what to put before the model until it is replaced."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bdscan.cli import scan_options as given
from bdscan.cli.exits import CLEAN, FOUND, guarded, note

if TYPE_CHECKING:
    from bdscan.mitigate.outcome import Profile

STDOUT = "-"
HELP = """Profile the triggers that a scan recovered, or one of your own, and advise a transformation against them.

Each trigger is moved, resized, faded and recoloured, and clean and stamped images are flipped, shrunk, blurred,
compressed and so on before the model sees them: success of the trigger and clean accuracy side by side, on held-out
images. --guard writes a model that applies the best fixed transformation to its own input: a stopgap, not a repair, and
an attacker who expects it can train the trigger through it.

\b
Examples:
  bdscan scan model.onnx --samples images/ -o report.json
  bdscan profile model.onnx --report report.json --samples images/ -o profile.json --html profile.html
  bdscan profile model.onnx --report report.json --samples images/ --guard guarded.onnx
  bdscan profile model.onnx --report report.json --samples images/ --trigger sticker.png --target 7

\b
Exit codes:
  0  profiled, and the guarded model written where one was asked for
  1  profiled, but no guarded model was written: no transformation that it can hold helps enough
  2  a file, an option or the samples cannot be used
  3  the model cannot be profiled, or (then the profile is written) its guarded form is not the same model
  130  interrupted
"""


def profile(
    model: Annotated[str, typer.Argument(help="The model that was scanned; it is not changed.", show_default=False)],
    report: Annotated[str, typer.Option(metavar="FILE", help="The JSON report of its scan.", show_default=False)],
    samples: Annotated[
        str, typer.Option(metavar="PATH", help="Clean images, as for `bdscan scan`.", show_default=False)
    ],
    arch: given.Arch = None,
    trigger: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A trigger of your own: a picture with transparency, or .npz with pattern and mask."
        ),
    ] = None,
    target: Annotated[
        int | None, typer.Option(metavar="CLASS", help="The class that it sends images to, by its number from 0.")
    ] = None,
    source: Annotated[
        list[int] | None, typer.Option(metavar="CLASS", help="A class that it works on; repeats. None: all.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the profile as JSON; - is stdout.")
    ] = None,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write it as one page with plots.")] = None,
    guard: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the guarded model: .onnx for ONNX, else TorchScript (.pt, .ts)."),
    ] = None,
    weaknesses: Annotated[bool, typer.Option("--weaknesses", help="Profile natural weaknesses too.")] = False,
    max_accuracy_drop: Annotated[
        float, typer.Option(metavar="POINTS", help="Points of clean accuracy that an advised transformation may cost.")
    ] = 2.0,
    budget: Annotated[given.Budget, typer.Option("--budget", help="How many places and images are tried.")] = (
        given.Budget.standard
    ),
    device: given.Where = given.Device.auto,
    labels: given.Labels = None,
    preprocessing: given.Preprocessing = None,
    seed: given.Seed = 0,
    threads: given.Threads = 2,
    memory_gb: given.MemoryGb = 16,
    time_limit: given.TimeLimit = 3600,
    require_sandbox: given.RequireSandbox = False,
    quiet: given.Quiet = False,
    debug: given.Debug = False,
) -> None:
    with guarded(debug):
        from bdscan import api
        from bdscan.cli import progress
        from bdscan.destination import file_name
        from bdscan.errors import CannotJudge

        settings = api.make_profile_settings(
            model=model,
            samples=samples,
            arch=arch,
            labels=labels,
            preprocessing=preprocessing,
            budget=budget.value,
            device=device.value,
            seed=seed,
            threads=threads,
            memory_gb=memory_gb,
            time_limit=time_limit,
            require_sandbox=require_sandbox,
            report=report,
            trigger=trigger,
            target=target,
            sources=tuple(source or ()),
            guard=None if guard is None else file_name("--guard", guard),
            weaknesses=weaknesses,
            max_accuracy_drop=max_accuracy_drop,
        )
        inputs = [model, samples, report, *(file for file in (labels, trigger) if file)]
        _check({"-o": output, "--html": html, "--guard": guard}, inputs)
        with progress.shown(quiet, [model]) as shown:
            result, written = api.profile(settings, guard, shown.watch(0))
        _write(result, output, html)
        if output != STDOUT and not (quiet and (output or html)):
            _show(result)
        if not quiet:
            for path in (*written, *(path for path in (output, html) if path and path != STDOUT)):
                note(f"wrote {path}")
        if result.guard_error is not None:
            raise CannotJudge(result.guard_error)
        if guard is not None and not written:
            note(f"--guard {guard}: not written; no transformation that a guarded model can hold helps enough")
    raise typer.Exit(FOUND if guard is not None and not written else CLEAN)


def _check(outputs: dict[str, str | None], inputs: list[str]) -> None:
    """Before the work: no output is an input or another output, and each can be written."""
    from bdscan import destination
    from bdscan.deliver import guard_may_write
    from bdscan.errors import UsageError

    taken: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None or (path == STDOUT and option == "-o"):
            continue
        if path == STDOUT:
            raise UsageError(f"{option} -: names a file; only -o can go to stdout")
        writes = guard_may_write(path) if option == "--guard" else (path,)
        for real in map(os.path.realpath, writes):
            if real in taken:
                raise UsageError(f"{option} {path}: {taken[real]} names the same file; choose another name")
            taken[real] = option
        destination.check(option, path, writes, inputs, devices=option != "--guard")
        if option == "-o" and os.path.splitext(path)[1].lower() not in ("", ".json"):
            raise UsageError(f"-o {path}: a profile is JSON; end its name with .json, or use --html for the page")


def _write(result: Profile, output: str | None, html: str | None) -> None:
    from bdscan.cli.outputs import put

    text = result.model_dump_json(indent=1) + "\n"
    if html is not None:
        from bdscan.mitigate.page import render

        put(html, render(result).encode(), "--html")
    if output == STDOUT:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    elif output is not None:
        put(output, text.encode())


def _show(result: Profile) -> None:
    """The triggers, the transformations that count, the advice."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from bdscan.cli.terminal import Stdout
    from bdscan.formats.text import percent, visible
    from bdscan.mitigate import words
    from bdscan.repair.outcome import Rate

    def text(value: str, style: str = "") -> Text:
        return Text(visible(value), style=style, overflow="fold")

    def share(value: Rate) -> str:
        return f"{percent(value.value)} of {value.n}" if value.n else "no images"

    console = Stdout()
    for i, trigger in enumerate(result.triggers):
        table = Table(box=box.SIMPLE_HEAD, title=text(words.trigger(trigger), "bold"), title_justify="left")
        table.add_column(overflow="fold")
        for name in ("success", "own class again", "clean accuracy"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row("as recovered", share(trigger.success), "", share(result.accuracy))
        for name, points in (("opacity", trigger.opacity), ("size", trigger.size)):
            for point in points:
                if point.value in (0.5, 1.5):
                    table.add_row(text(f"{name} times {point.name}"), share(point.success))
        for point in trigger.colour:
            table.add_row(text(f"colour {point.name}"), share(point.success))
        for far, places in words.moved(trigger):
            table.add_row(text(f"moved by {far} px, mean over places"), percent(places.value))
        table.add_section()
        for effect in words.told(result.effects):
            one, cost = effect.triggers[i], effect.accuracy.after
            table.add_row(text(effect.text), share(one.success), share(one.recovered), share(cost))
        console.print(table)
    console.print(text(result.advice.summary, "bold"))
    for line in (*words.checks(result), *words.guarded(result)):
        console.print(text(line))
    for each in (*result.advice.warnings, *(f"Not measured: {what}." for what in result.not_measured)):
        console.print(text(f"- {each}", "dim"))
