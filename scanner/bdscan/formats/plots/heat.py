"""A heat map of shares over places: columns go right, rows go down, the strongest colour is 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bdscan.formats.plots.axis import WIDTH
from bdscan.formats.text import percent

LEFT: Final = 64
TOP: Final = 34
LARGEST: Final = 30.0
Shares = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Cell:
    x: float
    y: float
    full: str
    strength: float
    own: bool  # the trigger's own place


@dataclass(frozen=True)
class HeatPlot:
    size: float
    height: float
    cells: tuple[Cell, ...]
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]


def heat_plot(right: Sequence[int], down: Sequence[int], shares: Shares) -> HeatPlot:
    """`shares[row][column]` in [0, 1] at `down[row]` and `right[column]` pixels from the own place (0, 0)."""
    size = round(min((WIDTH - LEFT - 8) / max(len(right), 1), LARGEST), 2)
    cells = tuple(
        Cell(
            x=round(LEFT + j * size, 2),
            y=round(TOP + i * size, 2),
            full=f"{x:+d} px right, {y:+d} px down: {percent(share)}",
            strength=min(max(share, 0.0), 1.0),
            own=x == y == 0,
        )
        for i, (y, line) in enumerate(zip(down, shares, strict=False))
        for j, (x, share) in enumerate(zip(right, line, strict=False))
    )
    return HeatPlot(
        size,
        round(TOP + len(down) * size + 8, 2),
        cells,
        tuple((round(TOP + (i + 0.5) * size, 2), f"{y:+d}" if y else "0") for i, y in enumerate(down)),
        tuple((round(LEFT + (j + 0.5) * size, 2), f"{x:+d}" if x else "0") for j, x in enumerate(right)),
    )


def heat_table(right: Sequence[int], down: Sequence[int], shares: Shares) -> tuple[tuple[str, ...], ...]:
    """Rows of texts: a head with the columns, then one row a place down."""
    head = ("down \\ right, px", *(f"{x:+d}" for x in right))
    return (head, *((f"{y:+d}", *(percent(s) for s in line)) for y, line in zip(down, shares, strict=False)))
