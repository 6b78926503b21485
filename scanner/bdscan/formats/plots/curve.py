"""Lines over a common axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bdscan.formats.plots.axis import WIDTH, Tick, linear
from bdscan.formats.text import number
from bdscan.report import Curve, Line

HEIGHT: Final = 240
LEFT: Final = 46
RIGHT: Final = WIDTH - 14
TOP: Final = 12
BOTTOM: Final = HEIGHT - 46
STYLES: Final = 4  # lines told apart by colour and dashes; all further ones look alike
MOST: Final = 50


@dataclass(frozen=True)
class Path:
    name: str
    style: str
    segments: tuple[str, ...]  # SVG point lists; a missing value ends one
    dots: tuple[tuple[float, float], ...]  # points without neighbours


@dataclass(frozen=True)
class CurvePlot:
    paths: tuple[Path, ...]  # to be painted in this order: highlighted ones last
    legend: tuple[Path, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rest: str
    description: str


def curve_plot(evidence: Curve) -> CurvePlot:
    lines = drawn_lines(evidence)
    values = [value for line in lines for value in line.y if value is not None]
    share = bool(values) and min(values) >= 0 and max(values) <= 1
    across = linear(evidence.x, LEFT, RIGHT)
    up = linear(values, BOTTOM, TOP, include=(0.0, 1.0) if share else ())
    styles = _styles(lines)
    paths = []
    for line, style in zip(lines, styles, strict=True):
        runs = _runs([(across(x), up(y)) if y is not None else None for x, y in zip(evidence.x, line.y, strict=False)])
        segments = tuple(" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs if len(run) > 1)
        paths.append(Path(line.name, style, segments, tuple(run[0] for run in runs if len(run) == 1)))
    legend = [path for path in paths if path.style != "other"]
    others = [path for path in paths if path.style == "other"]
    if others:
        legend.append(Path(f"{len(others)} others" if len(others) > 1 else others[0].name, "other", (), ()))
    left_out = len(evidence.lines) - len(lines)
    return CurvePlot(
        tuple(sorted(paths, key=lambda path: (path.style != "other", path.style.startswith("hot")))),
        tuple(legend),
        across.ticks(5),
        up.ticks(),
        f"{left_out:,} more lines are not drawn." if left_out else "",
        _description(evidence),
    )


def drawn_lines(evidence: Curve) -> list[Line]:
    """The highlighted lines and the first of the others, at most `MOST`, in their own order."""
    marked = [line for line in evidence.lines if line.highlighted][:MOST]
    plain = [line for line in evidence.lines if not line.highlighted][: MOST - len(marked)]
    return [*marked, *plain]


def _styles(lines: list[Line]) -> list[str]:
    plain = sum(not line.highlighted for line in lines)
    styles, hot, cool = [], 0, 0
    for line in lines:
        if line.highlighted:
            styles.append(f"hot{hot % STYLES}")
            hot += 1
        elif plain <= STYLES:
            styles.append(f"cool{cool}")
            cool += 1
        else:
            styles.append("other")
    return styles


def _runs(points: list[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _description(evidence: Curve) -> str:
    ends = []
    for line in [line for line in evidence.lines if line.highlighted][:4] or list(evidence.lines[:4]):
        known = [value for value in line.y if value is not None]
        if known:
            ends.append(f"{line.name} from {number(known[0])} to {number(known[-1])}")
    return f"{evidence.y_label} against {evidence.x_label}; {'; '.join(ends) or 'no values'}."


def curve_table(evidence: Curve) -> tuple[tuple[str, ...], ...]:
    """Rows of texts: a head with the names of the drawn lines, then x and one value a line."""
    lines = drawn_lines(evidence)
    head = (evidence.x_label, *(line.name for line in lines))
    body = [
        (number(x), *(number(line.y[i]) if i < len(line.y) else "–" for line in lines))
        for i, x in enumerate(evidence.x)
    ]
    return (head, *body)
