"""A few rates, one bar each on an axis from 0 to 100 %, with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bdscan.formats.plots.axis import WIDTH, Tick, linear
from bdscan.formats.text import percent

if TYPE_CHECKING:
    from bdscan.repair.outcome import Rate

ROW: Final = 26
LEFT: Final = 74
RIGHT: Final = WIDTH - 54


@dataclass(frozen=True)
class RateRow:
    """`low` and `high` are the ends of the interval; both None where there was no image to try."""

    name: str
    text: str
    y: float
    width: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RatesPlot:
    height: float
    bottom: float
    rows: tuple[RateRow, ...]
    ticks: tuple[Tick, ...]
    description: str


def rates_plot(rates: Sequence[tuple[str, Rate]]) -> RatesPlot:
    """One row for each (name, rate), in their order."""
    scale = linear((), LEFT, RIGHT, include=(0.0, 1.0))
    rows = []
    for position, (name, rate) in enumerate(rates):
        low, high = rate.interval
        known = rate.n > 0
        rows.append(
            RateRow(
                name=name,
                text=percent(rate.value) if known else "–",
                y=position * ROW,
                width=round(scale(rate.value) - LEFT, 2),
                low=scale(low) if known else None,
                high=scale(high) if known else None,
            )
        )
    bottom = len(rows) * ROW
    ticks = tuple(Tick(scale(share), f"{100 * share:.0f} %") for share in (0.0, 0.5, 1.0))
    return RatesPlot(bottom + 18, bottom, tuple(rows), ticks, description(rates))


def description(rates: Sequence[tuple[str, Rate]]) -> str:
    return "; ".join(f"{name}: {rate_text(rate)}" for name, rate in rates)


def rate_text(rate: Rate) -> str:
    """`75.6 % (34 of 45, 95 % interval 61.3 % to 85.8 %)`."""
    return f"{percent(rate.value)} ({counted(rate)})" if rate.n else counted(rate)


def counted(rate: Rate) -> str:
    if rate.n == 0:
        return "no held-out image to try it on"
    low, high = rate.interval
    return f"{rate.hits} of {rate.n}, 95 % interval {percent(low)} to {percent(high)}"
