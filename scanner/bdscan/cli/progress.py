"""Progress on stderr: bars with the time left on a terminal, one line a finished stage elsewhere, nothing if quiet.

With several models a bar is a scan that runs, and a line is a scan that ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bdscan.formats.text import shorten, visible

MOST_STAGES: Final = 100  # stage names come from the worker; it cannot fill the screen
NAME: Final = 32  # characters of a model's path beside its bar

Report = Callable[[str, float], None]


class Shown:
    """Where scans report their steps and their ends. This one shows nothing."""

    def watch(self, index: int) -> Report:
        """The scan at `index` begins; a function to call with a stage's name and the share done."""
        return lambda stage, share: None

    def ended(self, index: int, outcome: str) -> None:
        """The scan at `index` ended as `outcome` says."""


@contextmanager
def shown(quiet: bool, models: Sequence[str]) -> Iterator[Shown]:
    """The view of a command that scans `models`."""
    console = Console(stderr=True, markup=False, highlight=False)
    if quiet:
        yield Shown()
    elif not console.is_terminal or console.is_dumb_terminal:
        yield _Lines(console, models)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TimeElapsedColumn(),
            *(() if len(models) > 1 else (TextColumn("left", markup=False), TimeRemainingColumn(compact=True))),
        )
        with Progress(*columns, console=console) as bars:
            yield _Bars(bars) if len(models) == 1 else _ManyBars(bars, models)


class _Bars(Shown):
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def watch(self, index: int) -> Report:
        def report(stage: str, share: float) -> None:
            if stage not in self._tasks:
                if len(self._tasks) >= MOST_STAGES:
                    return
                self._tasks[stage] = self._bars.add_task(stage, total=1.0)
            self._bars.update(self._tasks[stage], completed=share)

        return report


class _ManyBars(Shown):
    """A bar for all models, and one for each scan that runs: its stage, and how far that is."""

    def __init__(self, bars: Progress, models: Sequence[str]) -> None:
        self._bars, self._models = bars, models
        self._all = bars.add_task(f"{len(models)} models", total=len(models))
        self._tasks: dict[int, TaskID] = {}

    def watch(self, index: int) -> Report:
        name = shorten(visible(self._models[index]), NAME)
        task = self._tasks[index] = self._bars.add_task(name, total=1.0)

        def report(stage: str, share: float) -> None:
            self._bars.update(task, description=f"{name}  {shorten(stage, 18)}", completed=share)

        return report

    def ended(self, index: int, outcome: str) -> None:
        if index in self._tasks:
            self._bars.remove_task(self._tasks.pop(index))
        self._bars.advance(self._all)
        self._bars.console.print(f"{visible(self._models[index])}: {outcome}", soft_wrap=True)


class _Lines(Shown):
    def __init__(self, console: Console, models: Sequence[str]) -> None:
        self._console, self._models = console, models

    def watch(self, index: int) -> Report:
        if len(self._models) > 1:
            return super().watch(index)
        began: dict[str, float] = {}
        done: set[str] = set()

        def report(stage: str, share: float) -> None:
            if len(began) < MOST_STAGES:
                began.setdefault(stage, time.monotonic())
            if share >= 1 and stage in began and stage not in done:
                done.add(stage)
                self._console.print(f"bdscan: {stage} done in {time.monotonic() - began[stage]:.1f} s", soft_wrap=True)

        return report

    def ended(self, index: int, outcome: str) -> None:
        if len(self._models) > 1:
            self._console.print(f"bdscan: {visible(self._models[index])}: {outcome}", soft_wrap=True)
