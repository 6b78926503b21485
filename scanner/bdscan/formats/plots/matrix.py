"""A heat map of source against target; with many classes the highlighted rows and columns and the first of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bdscan.formats.plots.axis import WIDTH
from bdscan.formats.text import label, number
from bdscan.report import Matrix

MOST: Final = 48  # rows and columns drawn
NAMED: Final = 12  # up to this many, cells carry their numbers and every row its name
LEFT: Final = 64
TOP: Final = 34


@dataclass(frozen=True)
class Cell:
    x: float
    y: float
    text: str
    full: str
    strength: float | None  # 0 pale to 1 strong; None where there is no value
    highlighted: bool


@dataclass(frozen=True)
class Head:
    at: float
    text: str


@dataclass(frozen=True)
class MatrixPlot:
    size: float  # of a cell
    height: float
    cells: tuple[Cell, ...]
    rows: tuple[Head, ...]
    columns: tuple[Head, ...]
    pale: str  # the value at strength 0
    strong: str
    rest: str
    description: str


def matrix_plot(evidence: Matrix) -> MatrixPlot:
    rows, columns = _drawn(evidence)
    every = [value for line in evidence.values for value in line if value is not None]
    low, high = (min(every), max(every)) if every else (0.0, 0.0)
    pale, strong = (high, low) if _small_stands_out(evidence, low, high) else (low, high)
    size = round(min((WIDTH - LEFT - 8) / max(len(columns), 1), 30.0), 2)
    named = max(len(rows), len(columns)) <= NAMED
    marked = set(evidence.highlighted)
    cells = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value = _value(evidence, row, column)
            cells.append(
                Cell(
                    x=round(LEFT + j * size, 2),
                    y=round(TOP + i * size, 2),
                    text=number(value) if named and value is not None else "",
                    full=f"{label(evidence.rows[row])} → {label(evidence.columns[column])}: {number(value)}",
                    strength=None if value is None else _strength(value, pale, strong),
                    highlighted=(row, column) in marked,
                )
            )
    kept_rows = {row for row, _ in marked} if not named else set(rows)
    kept_columns = {column for _, column in marked} if not named else set(columns)
    left_out = len(rows) < len(evidence.rows) or len(columns) < len(evidence.columns)
    full = f"{len(evidence.rows):,} × {len(evidence.columns):,}"
    return MatrixPlot(
        size,
        round(TOP + len(rows) * size + 8, 2),
        tuple(cells),
        tuple(
            Head(round(TOP + (i + 0.5) * size, 2), label(evidence.rows[row], 5))
            for i, row in enumerate(rows)
            if row in kept_rows
        ),
        tuple(
            Head(round(LEFT + (j + 0.5) * size, 2), str(evidence.columns[column].index))
            for j, column in enumerate(columns)
            if column in kept_columns
        ),
        number(pale),
        number(strong),
        f"{len(rows)} × {len(columns)} of {full} cells are drawn." if left_out else "",
        _description(evidence, full, low, high),
    )


def _drawn(evidence: Matrix) -> tuple[list[int], list[int]]:
    return (
        _pick(len(evidence.rows), {row for row, _ in evidence.highlighted}),
        _pick(len(evidence.columns), {column for _, column in evidence.highlighted}),
    )


def _pick(count: int, marked: set[int]) -> list[int]:
    first = sorted(index for index in marked if 0 <= index < count)[:MOST]
    rest = [index for index in range(count) if index not in marked][: MOST - len(first)]
    return sorted([*first, *rest])


def _value(evidence: Matrix, row: int, column: int) -> float | None:
    line: Sequence[float | None] = evidence.values[row] if row < len(evidence.values) else ()
    return line[column] if column < len(line) else None


def _small_stands_out(evidence: Matrix, low: float, high: float) -> bool:
    """Whether the highlighted cells are nearer to the smallest value: then that end gets the strong colour."""
    marked = [_value(evidence, *at) for at in evidence.highlighted if min(at) >= 0]
    known = [value for value in marked if value is not None]
    return bool(known) and sum(value / 2 - low / 2 < high / 2 - value / 2 for value in known) * 2 > len(known)


def _strength(value: float, pale: float, strong: float) -> float:
    # Halves keep the difference of two huge values finite.
    return round((value / 2 - pale / 2) / (strong / 2 - pale / 2), 3) if strong != pale else 0.0


def _description(evidence: Matrix, full: str, low: float, high: float) -> str:
    marked = [
        f"{label(evidence.rows[row])} → {label(evidence.columns[column])}: {number(_value(evidence, row, column))}"
        for row, column in evidence.highlighted[:6]
        if 0 <= row < len(evidence.rows) and 0 <= column < len(evidence.columns)
    ]
    text = f"{evidence.unit}, {full} classes, source in rows and target in columns, {number(low)} to {number(high)}"
    return f"{text}; highlighted {', '.join(marked)}." if marked else f"{text}."


def matrix_table(evidence: Matrix) -> tuple[tuple[str, ...], ...]:
    """Rows of texts: a head with the drawn columns, then one row a drawn source."""
    rows, columns = _drawn(evidence)
    head = ("source \\ target", *(label(evidence.columns[column], 24) for column in columns))
    body = [
        (label(evidence.rows[row], 24), *(number(_value(evidence, row, column)) for column in columns)) for row in rows
    ]
    return (head, *body)
