"""The terminal's view of a report. Every string becomes a `Text` first: rich never reads markup from a model file."""

from __future__ import annotations

from io import StringIO
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bdscan.formats import story
from bdscan.formats.text import label, number, shorten, visible
from bdscan.report import Bars, Finding, Report, Verdict

WIDTH: Final = 100
STYLES: Final[dict[Verdict, str]] = {
    Verdict.CLEAN: "green",
    Verdict.INCONCLUSIVE: "bright_blue",
    Verdict.SUSPICIOUS: "yellow",
    Verdict.BACKDOOR: "red",
}


def render(report: Report) -> str:
    """Plain text, `WIDTH` columns, no colour."""
    buffer = StringIO()
    print_report(report, Console(file=buffer, width=WIDTH, color_system=None, force_terminal=False, no_color=True))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().split("\n")[:-1])


def print_report(report: Report, console: Console) -> None:
    """The verdict, a table per suspected target, then everything that limits the answer."""
    console.print(_verdict(report))
    console.print(_facts(report))
    for suspect in story.suspects(report):
        _heading(console, suspect.name)
        for finding in suspect.findings:
            console.print(Padding(_finding(finding), (0, 0, 1, 2)))
    if found := story.weaknesses(report):
        _heading(console, "Weaknesses (they do not raise the verdict)")
        for finding in found:
            console.print(_item(f"{label(finding.target)}: {finding.message}", "dim"))
    if report.waivers:
        _heading(console, "Waivers")
        for name, what in story.waivers(report):
            console.print(_item(f"{name} {what}"))
    if missing := story.gaps(report):
        _heading(console, "Stages that did not run", "bold yellow")
        for name, outcome, why in missing:
            console.print(_item(f"{outcome.upper()} {name}: {why}", "red" if outcome == "failed" else "yellow"))
    if unseen := story.unseen(report):
        _heading(console, "Not examined")
        for each in unseen:
            console.print(_item(each))
    console.print()
    console.print(_text(f"Calibration: {story.calibration(report)}", "dim"))


def _text(value: str, style: str = "") -> Text:
    return Text(visible(value), style=style, overflow="fold")


def _heading(console: Console, value: str, style: str = "bold") -> None:
    console.print()
    console.print(_text(value, style))


def _item(value: str, style: str = "") -> Padding:
    row = Table.grid(padding=(0, 1))
    row.add_row(Text("-", style=style), _text(value, style))
    return Padding(row, (0, 0, 0, 2))


def _verdict(report: Report) -> Panel:
    words, style = story.words(report), STYLES[report.verdict]
    body = Group(
        _text(f"{words.symbol}  {words.headline}", f"bold {style}"),
        Text(),
        _text(report.summary),
        *((Text(), _text(note, "bold")) if (note := story.waived_note(report)) else ()),
        Text(),
        _text(f"{words.meaning} {words.advice}", "dim"),
    )
    return Panel(body, border_style=style, box=box.HEAVY, padding=(1, 2))


def _grid(rows: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(_text(name, "dim"), _text(value))
    return grid


def _facts(report: Report) -> Padding:
    rows = [
        ("File", shorten(report.subject.path, 200)),
        ("Subject digest", report.subject.digest),
        *story.facts(report),
        *(("Note", note) for note in (*report.subject.notes, *report.samples.notes)),
    ]
    return Padding(_grid([row for row in rows if row[0] != "Calibration"]), (1, 0, 0, 2))


def _finding(finding: Finding) -> Table:
    state = "confirmed" if finding.confirmed else "not confirmed"
    rows = [
        ("Finding", f"{finding.title} [{finding.rule}]"),
        ("", finding.message),
        ("Severity", f"{finding.severity.value}, confidence {finding.confidence.value}, {state}"),
        ("Waived", story.waived(finding)),
        ("Works on", story.affected(finding)),
        ("Success", story.success(finding)),
        *((_bars_name(bars), _bars_line(bars)) for bars in finding.evidence if isinstance(bars, Bars)),
        ("What to do", finding.remedy),
    ]
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(_text(name, "dim"), _text(value))
    return table


def _bars_name(bars: Bars) -> str:
    return shorten(bars.unit, 24)


def _bars_line(bars: Bars) -> str:
    marked = ", ".join(f"{label(bar.label, 24)}: {number(bar.value)}" for bar in bars.bars if bar.highlighted)
    reference = "" if bars.reference is None else f"{bars.reference_name} of {len(bars.bars)}: {number(bars.reference)}"
    return "; ".join(part for part in (marked, reference) if part)
