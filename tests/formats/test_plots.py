import math

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from bdscan.formats.plots.axis import WIDTH, linear, logarithmic
from bdscan.formats.plots.bars import MOST, bars_plot, bars_table
from bdscan.formats.plots.curve import curve_plot, curve_table
from bdscan.formats.plots.matrix import matrix_plot, matrix_table
from bdscan.report import Bar, Bars, Curve, Label, Line, Matrix

ANY = st.floats(allow_nan=False, allow_infinity=False)


def test_bar_lengths_are_proportional() -> None:
    plot = bars_plot(sample.bars(3))
    by_name = {row.name: row for row in plot.rows}
    assert plot.rows[0].name == "3 · cat"
    assert plot.rows[0].highlighted
    assert by_name["2 · bird"].width / by_name["3 · cat"].width == pytest.approx(30.6 / 4.3, rel=0.02)
    assert plot.reference is not None
    assert plot.reference.at == pytest.approx(by_name["7 · horse"].end, abs=1)  # 35.4 beside a median of 35.5


def test_logarithmic_bars_have_equal_steps() -> None:
    values = {0: 1.0, 1: 10.0, 2: 100.0}
    bars = tuple(Bar(label=Label(index=i, name=""), value=value) for i, value in values.items())
    rows = bars_plot(Bars(title="", unit="", bars=bars, log_scale=True)).rows
    assert rows[2].end - rows[1].end == pytest.approx(rows[1].end - rows[0].end)


@pytest.mark.parametrize("count", [43, 1000])
def test_many_labels_stay_readable(count: int) -> None:
    evidence = sample.bars(33, count)
    plot = bars_plot(evidence)
    assert len(plot.rows) <= MOST
    assert sum(row.highlighted for row in plot.rows) == 1
    assert f"{count - len(plot.rows):,} more labels are not drawn" in plot.rest
    assert len(bars_table(evidence)) == count, "the table holds them all"


def test_censored_labels_come_last_and_say_so() -> None:
    rows = bars_plot(sample.bars(3)).rows
    assert (rows[-1].name, rows[-1].text, rows[-1].censored) == ("9 · truck", "never", True)
    assert [row.text for row in rows if row.name == "5 · dog"] == ["≥ 35.6"]


def test_curve_goes_through_its_points_and_breaks_at_gaps() -> None:
    line = Line(name="a", y=(0.0, 1.0, None, 0.5))
    (path,) = curve_plot(Curve(title="", x_label="", y_label="", x=(0, 1, 2, 3), lines=(line,))).paths
    (segment,) = path.segments
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in segment.split())
    assert (x1 - x0) * 2 == pytest.approx(path.dots[0][0] - x1, abs=0.05)
    assert path.dots[0][1] == pytest.approx((y0 + y1) / 2), "0.5 lies half way between 0 and 1"
    assert y1 < y0, "larger values are drawn higher"


def test_highlighted_line_is_painted_last() -> None:
    plot = curve_plot(sample.mutation(43, 33))
    assert plot.paths[-1].name == "class 33"
    assert [path.name for path in plot.legend] == ["class 33", "42 others"]


def test_matrix_marks_the_right_cell_and_gives_it_the_strong_colour() -> None:
    plot = matrix_plot(sample.matrix())
    (marked,) = [cell for cell in plot.cells if cell.highlighted]
    assert marked.full == "1 · automobile → 8 · ship: -8.4"
    assert marked.strength == 1
    assert (plot.strong, plot.pale) == ("-8.4", "1.91")


def test_large_matrix_keeps_the_highlighted_pair() -> None:
    evidence = sample.matrix(200, (150, 199))
    plot = matrix_plot(evidence)
    assert [cell.full for cell in plot.cells if cell.highlighted] == ["150 · class 150 → 199 · class 199: -8.4"]
    assert plot.rest == "48 × 48 of 200 × 200 cells are drawn."
    assert len(matrix_table(evidence)) == 49


@given(st.lists(st.one_of(st.none(), ANY), max_size=8), st.one_of(st.none(), ANY), st.booleans())
def test_bars_stay_inside_for_any_numbers(values: list[float | None], reference: float | None, log: bool) -> None:
    bars = tuple(Bar(label=Label(index=i, name="x"), value=value) for i, value in enumerate(values))
    plot = bars_plot(Bars(title="", unit="", bars=bars, reference=reference, log_scale=log))
    for row in plot.rows:
        assert 0 <= row.x <= row.end <= WIDTH
        assert 0 < row.width < WIDTH


@given(
    st.lists(ANY, max_size=5),
    st.lists(st.lists(st.one_of(st.none(), ANY), max_size=7), max_size=6),
    st.lists(st.tuples(st.integers(-3, 9), st.integers(-3, 9)), max_size=3),
)
def test_ragged_and_extreme_evidence_is_drawn_not_raised(
    x: list[float], lines: list[list[float | None]], marked: list[tuple[int, int]]
) -> None:
    curve = Curve(
        title="", x_label="", y_label="", x=tuple(x), lines=tuple(Line(name="l", y=tuple(line)) for line in lines)
    )
    for path in curve_plot(curve).paths:
        for segment in path.segments:
            assert all(math.isfinite(float(value)) for point in segment.split() for value in point.split(","))
    assert len(curve_table(curve)) == len(x) + 1
    labels = tuple(Label(index=i, name="") for i in range(len(lines)))
    matrix = Matrix(
        title="", unit="", rows=labels, columns=labels, values=tuple(map(tuple, lines)), highlighted=tuple(marked)
    )
    for cell in matrix_plot(matrix).cells:
        assert cell.strength is None or 0 <= cell.strength <= 1
    assert len(matrix_table(matrix)) == len(lines) + 1


@given(st.lists(ANY, min_size=1, max_size=6))
def test_scales_have_a_few_ticks_inside_their_range(values: list[float]) -> None:
    for scale in (linear(values, 10, 200), logarithmic(values, 10, 200)):
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 9
        assert all(10 <= tick.at <= 200 for tick in ticks)
