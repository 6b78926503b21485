"""Progress on stderr: bars with the time left on a terminal, one line a finished stage elsewhere, nothing if quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

MOST_STAGES: Final = 100  # stage names come from the worker; it cannot fill the screen

Report = Callable[[str, float], None]


@contextmanager
def shown(quiet: bool) -> Iterator[Report]:
    """A function to call with a stage's name and the share done."""
    console = Console(stderr=True, markup=False, highlight=False)
    if quiet:
        yield lambda stage, share: None
    elif console.is_terminal and not console.is_dumb_terminal:
        with _bars(console) as report:
            yield report
    else:
        yield _lines(console)


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TimeElapsedColumn(),
        TextColumn("left", markup=False),
        TimeRemainingColumn(compact=True),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                if len(tasks) >= MOST_STAGES:
                    return
                tasks[stage] = progress.add_task(stage, total=1.0)
            progress.update(tasks[stage], completed=share)

        yield report


def _lines(console: Console) -> Report:
    began: dict[str, float] = {}
    done: set[str] = set()

    def report(stage: str, share: float) -> None:
        if len(began) < MOST_STAGES:
            began.setdefault(stage, time.monotonic())
        if share >= 1 and stage in began and stage not in done:
            done.add(stage)
            console.print(f"bdscan: {stage} done in {time.monotonic() - began[stage]:.1f} s", soft_wrap=True)

    return report
