"""`bdscan repair`: unlearn or cut what a scan found, and prove that it worked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from bdscan.cli import scan_options as given
from bdscan.cli.exits import CLEAN, FOUND, guarded, note

if TYPE_CHECKING:
    from bdscan.repair.outcome import Repair

HELP = """Repair a backdoored classifier with a few clean images, and verify the result.

The triggers that a scan's JSON report names are unlearned, with those for all images that it shows as weaknesses below
0.45 of other classes' size: several triggers hide each other. A trigger branch in an ONNX graph is cut, where no output
on the clean images changes by it. The result is written in the model's own format (of a whole module, as a state_dict)
only after it was scanned again; what that scan names is unlearned as well, once. It is kept as OUTPUT.rejected if the
last scan alarms, a trigger or the strongest one like it still works, or clean accuracy fell too far.
OUTPUT.repair.json, or OUTPUT.rejected.repair.json, tells what was done and measured; --html makes a page of it, as does
`bdscan render`.

\b
Examples:
  bdscan scan model.onnx --samples images/ -o report.json
  bdscan repair model.onnx --report report.json --samples images/ --output repaired.onnx --html repair.html

\b
Exit codes:
  0  repaired, and the new scan is clean
  1  rejected: still alarming, a trigger still works, or clean accuracy fell
  2  a file, an option or the samples cannot be used
  3  the model cannot be repaired here, or its branch not be cut safely
  130  interrupted
"""


def repair(
    model: Annotated[str, typer.Argument(help="The file to repair; it is not changed.", show_default=False)],
    report: Annotated[str, typer.Option(metavar="FILE", help="The JSON report of its scan.", show_default=False)],
    samples: Annotated[
        str, typer.Option(metavar="PATH", help="Clean images, as for `bdscan scan`.", show_default=False)
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="The repaired model.")],
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="A page that shows before and after side by side.")
    ] = None,
    arch: given.Arch = None,
    weaknesses: Annotated[bool, typer.Option("--weaknesses", help="Unlearn natural weaknesses too.")] = False,
    max_accuracy_drop: Annotated[
        float, typer.Option(metavar="POINTS", help="Points of clean accuracy that may be lost, beyond chance.")
    ] = 2.0,
    budget: given.HowMuch = given.Budget.standard,
    device: given.Where = given.Device.auto,
    labels: given.Labels = None,
    preprocessing: given.Preprocessing = None,
    rules: given.Rules = None,
    seed: given.Seed = 0,
    threads: given.Threads = 2,
    memory_gb: given.MemoryGb = 16,
    time_limit: given.TimeLimit = 3600,
    require_sandbox: given.RequireSandbox = False,
    keep_best: Annotated[
        bool,
        typer.Option(
            "--keep-best",
            help="Ctrl-C ends the training with its round; the result is verified and written.",
        ),
    ] = False,
    quiet: given.Quiet = False,
    debug: given.Debug = False,
) -> None:
    with guarded(debug):
        from bdscan import api
        from bdscan.cli import progress
        from bdscan.destination import file_name

        settings = api.make_repair_settings(
            model=model,
            samples=samples,
            arch=arch,
            labels=labels,
            preprocessing=preprocessing,
            rules=tuple(rules or ()),
            budget=budget.value,
            device=device.value,
            seed=seed,
            threads=threads,
            memory_gb=memory_gb,
            time_limit=time_limit,
            require_sandbox=require_sandbox,
            report=report,
            name=file_name("--output", output),
            weaknesses=weaknesses,
            max_accuracy_drop=max_accuracy_drop,
        )
        if html is not None:
            _check_page(html, [model, samples, report, *(rules or ()), *((labels,) if labels else ())], output)
        with progress.shown(quiet, [model]) as shown, interrupted(keep_best) as enough:
            result, written = api.repair_to(settings, output, shown.watch(0), enough)
        show(result)
        if not quiet:
            for path in written:
                note(f"wrote {path}")
        if html is not None:
            from bdscan.cli import outputs
            from bdscan.formats import repair_html

            outputs.put(html, repair_html.render(result).encode(), "--html")
            if not quiet:
                note(f"wrote {html}")
    raise typer.Exit(CLEAN if result.outcome == "repaired" else FOUND)


@contextmanager
def interrupted(keep_best: bool) -> Iterator[threading.Event]:
    """An event that a first Ctrl-C sets, where asked for; a second one is an interrupt as ever."""
    enough = threading.Event()

    def first(number: int, frame: FrameType | None) -> None:
        enough.set()
        signal.signal(signal.SIGINT, before)
        note("ending with the round that runs, then verifying; Ctrl-C again ends without a result")

    before = signal.signal(signal.SIGINT, first) if keep_best else signal.getsignal(signal.SIGINT)
    try:
        yield enough
    finally:
        if keep_best:
            signal.signal(signal.SIGINT, before)


def _check_page(html: str, inputs: list[str], output: str) -> None:
    """`UsageError` where the page cannot be written, before the work begins."""
    from bdscan.cli import outputs
    from bdscan.deliver import may_write
    from bdscan.errors import UsageError

    if html == outputs.STDOUT:
        raise UsageError("--html -: stdout shows the table; name a file")
    if os.path.realpath(html) in {os.path.realpath(path) for path in may_write(output)}:
        raise UsageError(f"--html {html}: the repair writes another file of this name; choose another")
    outputs.plan([html], "html", inputs, option="--html")


def show(result: Repair) -> None:
    """Before and after, side by side."""
    from rich.table import Table
    from rich.text import Text

    from bdscan.cli.terminal import Stdout
    from bdscan.formats.repair_story import MOST_SWITCHES, switched
    from bdscan.formats.text import label, visible

    def percent(hits: int, n: int) -> str:
        return f"{hits / n:.0%} of {n}" if n else "-"

    table = Table("", "before", "after", title=Text(result.outcome), title_justify="left")
    a = result.accuracy
    table.add_row("clean accuracy", percent(a.before.hits, a.before.n), percent(a.after.hits, a.after.n))
    for each in result.triggers:
        name = Text(f"{visible(each.family)} trigger to class {label(each.target)}")
        table.add_row(name, percent(each.before.hits, each.before.n), percent(each.after.hits, each.after.n))
        if each.strongest is not None:
            before, after = each.strongest.before, each.strongest.after
            table.add_row(
                f"  strongest {each.strongest_kind}", percent(before.hits, before.n), percent(after.hits, after.n)
            )
    for switch in switched(result)[:MOST_SWITCHES]:
        table.add_row(Text(switch.name), Text(switch.before), Text(switch.after))
    table.add_row("verdict", result.before.verdict.value, result.after.verdict.value)
    if result.relearn is not None:
        again = result.relearn
        name = Text(f"if retrained for {again.steps} steps with {again.poisoned} poisoned images (does not count)")
        table.add_row(name, "", percent(again.after.hits, again.after.n))
        if again.elsewhere is not None:
            table.add_row("  the same for other classes", "", percent(again.elsewhere.hits, again.elsewhere.n))
    if result.distance is not None:
        apart = result.distance
        name = Text(f"mean trigger over {apart.pairs} class pairs")
        table.add_row(name, f"{apart.before:.1f} pixels", f"{apart.after:.1f} ({apart.increase:+.0%})")
    console = Stdout()
    console.print(table)
    for reason in result.reasons or (result.summary,):
        console.print(Text(visible(reason)))
