"""One bar a label, the smallest on top; with many labels the smallest and the highlighted ones, the rest in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bdscan.formats.plots.axis import WIDTH, Tick, linear, logarithmic
from bdscan.formats.text import label, number
from bdscan.report import Bar, Bars

MOST: Final = 24  # labels drawn; above that the plot is no longer a plot
ROW: Final = 20
TOP: Final = 22
LEFT: Final = 112
RIGHT: Final = WIDTH - 56


@dataclass(frozen=True)
class Row:
    name: str
    text: str
    y: float
    x: float
    width: float
    end: float
    censored: bool
    highlighted: bool


@dataclass(frozen=True)
class BarsPlot:
    height: float
    bottom: float
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    reference: Tick | None
    rest: str  # what is said of the labels that are not drawn
    description: str


def bars_plot(evidence: Bars, axis: Sequence[float] = ()) -> BarsPlot:
    """`axis`: further values that the axis must hold, so that two plots can be compared."""
    drawn, rest = _choose(sorted(evidence.bars, key=_rank))
    known = [*drawn_values(evidence), *axis]
    scale = logarithmic(known, LEFT, RIGHT) if evidence.log_scale else linear(known, LEFT, RIGHT, include=(0.0,))
    zero = LEFT if evidence.log_scale else scale(0.0)
    rows = []
    for position, bar in enumerate(drawn):
        tip = RIGHT if bar.value is None else scale(bar.value)
        rows.append(
            Row(
                name=label(bar.label, 11),
                text=_value(bar),
                y=TOP + position * ROW,
                x=round(min(zero, tip), 2),
                width=round(max(abs(tip - zero), 1.5), 2),
                end=max(zero, tip),
                censored=bar.censored or bar.value is None,
                highlighted=bar.highlighted,
            )
        )
    bottom = TOP + len(drawn) * ROW
    reference = None
    if evidence.reference is not None:
        reference = Tick(scale(evidence.reference), f"{evidence.reference_name} {number(evidence.reference)}")
    return BarsPlot(bottom + 38, bottom, tuple(rows), scale.ticks(), reference, _rest(rest), _description(evidence))


def drawn_values(evidence: Bars) -> tuple[float, ...]:
    """What the plot's own axis holds: the bars that are drawn, and the reference."""
    drawn, _ = _choose(sorted(evidence.bars, key=_rank))
    values = tuple(bar.value for bar in drawn if bar.value is not None)
    return values if evidence.reference is None else (*values, evidence.reference)


def _rank(bar: Bar) -> tuple[bool, float, bool, int]:
    """Labels that never reached the goal come last, for their true size is larger than the search could tell."""
    return (bar.value is None, bar.value or 0.0, bar.censored, bar.label.index)


def _choose(ordered: list[Bar]) -> tuple[list[Bar], list[Bar]]:
    if len(ordered) <= MOST:
        return ordered, []
    marked = [bar for bar in ordered if bar.highlighted][: MOST // 2]
    plain = [bar for bar in ordered if bar not in marked]
    drawn = sorted([*marked, *plain[: MOST - 4 - len(marked)]], key=_rank)
    return drawn, [bar for bar in ordered if bar not in drawn]


def _value(bar: Bar) -> str:
    if bar.value is None:
        return "never"
    return f"≥ {number(bar.value)}" if bar.censored else number(bar.value)


def _rest(rest: list[Bar]) -> str:
    if not rest:
        return ""
    values = [bar.value for bar in rest if bar.value is not None]
    parts = [f"{len(rest):,} more labels are not drawn"]
    if values:
        parts.append(f"from {number(min(values))} to {number(max(values))}, median {number(median(values))}")
    censored = sum(bar.censored or bar.value is None for bar in rest)
    if censored:
        parts.append(f"{censored:,} of them never reached the goal")
    return "; ".join(parts) + "."


def _description(evidence: Bars) -> str:
    marked = [f"{label(bar.label)}: {_value(bar)}" for bar in evidence.bars if bar.highlighted][:6]
    parts = [f"{evidence.unit} for {len(evidence.bars):,} labels, smallest first"]
    if evidence.reference is not None:
        parts.append(f"{evidence.reference_name} {number(evidence.reference)}")
    if marked:
        parts.append("highlighted " + ", ".join(marked))
    return "; ".join(parts) + "."


def bars_table(evidence: Bars) -> tuple[tuple[str, str], ...]:
    """(label, value) of every label, smallest first."""
    return tuple((label(bar.label), _value(bar)) for bar in sorted(evidence.bars, key=_rank))
