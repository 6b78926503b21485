"""What a command with several models says at its end: a line a model, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict
from rich import box
from rich.table import Table
from rich.text import Text

from bdscan import __version__
from bdscan.cli.exits import CLEAN, FOUND
from bdscan.cli.outputs import put
from bdscan.cli.terminal import Stdout
from bdscan.formats.terminal import STYLES
from bdscan.formats.text import seconds, shorten, visible
from bdscan.report import Verdict

NOT_SCANNED: Final = "not scanned"
WIDE: Final = 110  # columns from which a model, why and where fit side by side
LONGEST: Final = 240
MOST: Final = 1000  # rows in Markdown: the summary of a job may have 1 MiB


class Row(BaseModel):
    """One model. `verdict` is empty where there is no report; `standing` is the verdict without waived findings."""

    model_config = ConfigDict(frozen=True)

    model: str
    verdict: str = ""
    standing: str = ""
    exit_code: int
    reason: str
    waived: int = 0
    digest: str = ""
    reports: tuple[str, ...] = ()
    seconds: float
    cache: str = "off"


class Summary(BaseModel):
    version: str
    exit_code: int
    models: tuple[Row, ...]


def failed(model: str, error: Exception, code: int, took: float) -> Row:
    """The row of a model without a report: never a pass, whatever ended its scan."""
    message = visible(" ".join(str(error).split())) or type(error).__name__
    return Row(model=model, exit_code=code, reason=message, seconds=round(took, 3))


def word(row: Row) -> str:
    """`clean`, `backdoor, waived`, or that there is no verdict."""
    if not row.verdict:
        return NOT_SCANNED
    return f"{row.verdict}, waived" if row.standing != row.verdict else row.verdict


def write(path: str, rows: Sequence[Row], code: int) -> None:
    """JSON; a Markdown table, for the summary of a job, where `path` ends with .md."""
    content = Summary(version=__version__, exit_code=code, models=tuple(rows)).model_dump_json(indent=2) + "\n"
    if path.lower().endswith(".md"):
        content = _markdown(rows, code)
    put(path, content.encode(), "--summary")


def _markdown(rows: Sequence[Row], code: int) -> str:
    from bdscan.formats.escaped import markdown

    lines = ["## bdscan", "", markdown(_total(rows, code)), "", "| Verdict | Model | Why |", "| --- | --- | --- |"]
    lines += [f"| {word(row)} | {markdown(row.model)} | {markdown(row.reason, LONGEST)} |" for row in rows[:MOST]]
    more = len(rows) - MOST
    return "\n".join([*lines, *([f"| | and {more} more | |"] if more > 0 else [])]) + "\n"


def show(rows: Sequence[Row], code: int) -> None:
    """The table on stdout: it is the result. Every string is shown inert."""
    console = Stdout()
    wide = console.width >= WIDE
    files = any(row.reports for row in rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Time", justify="right", no_wrap=True)
    for name, ratio in (("Model", 3), ("Why", 4), *((("Report", 3),) if files else ())) if wide else (("Model", 1),):
        table.add_column(name, overflow="fold", ratio=ratio)
    for row in rows:
        model, why = visible(row.model), shorten(visible(row.reason), LONGEST)
        reports = "\n".join(visible(path) for path in row.reports) or "no report"
        time = "cached" if row.cache == "hit" else seconds(row.seconds)
        if wide:
            table.add_row(_verdict(row), time, Text(model), Text(why), *((Text(reports),) if files else ()))
        else:
            below = f"\n{why}\n{reports}" if files else f"\n{why}"
            table.add_row(_verdict(row), time, Text.assemble((model, "bold"), (below, "dim")))
    console.print(table)
    console.print(Text(_total(rows, code)))


def _verdict(row: Row) -> Text:
    style = STYLES[Verdict(row.verdict)] if row.verdict else "bold red"
    return Text(word(row), style=style)


def _total(rows: Sequence[Row], code: int) -> str:
    """`3 models: 1 backdoor, 1 clean, 1 not scanned. Exit code 1.`"""
    order = [*reversed(Verdict), ""]
    counts = {each: sum(row.verdict == each for row in rows) for each in map(str, order)}
    parts = [f"{count} {name or NOT_SCANNED}" for name, count in counts.items() if count]
    why = {CLEAN: "", FOUND: " (at least one verdict counts)"}.get(code, " (not every model was judged)")
    return f"{len(rows)} model{'s' if len(rows) > 1 else ''}: {', '.join(parts)}. Exit code {code}{why}."
