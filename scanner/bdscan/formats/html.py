"""HTML: one page without scripts or network, verdict first, evidence next, everything else folded below.

Every string reaches the page through `visible` and Jinja's escaping, both set once for the whole environment, so that
no template can forget them.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bdscan.formats import story, text
from bdscan.formats.images import image
from bdscan.formats.plots.bars import bars_plot, bars_table
from bdscan.formats.plots.curve import curve_plot, curve_table
from bdscan.formats.plots.heat import heat_plot, heat_table
from bdscan.formats.plots.matrix import matrix_plot, matrix_table
from bdscan.report import Evidence, Measured, Report, Statistic
from bdscan.resources import resource

MOST_PAIRS: Final = 24
MOST_STATISTICS: Final = 300
ORDER: Final = ("gallery", "picture", "bars", "curve", "matrix", "trigger")  # what convinces at a glance comes first


def render(report: Report) -> str:
    """The page. The same report gives the same bytes."""
    made = environment()
    return made.get_template("report.html.j2").render(
        report=report,
        style=style(),
        words=story.WORDS[report.verdict],
        suspects=story.suspects(report),
        weaknesses=story.weaknesses(report),
        gaps=story.gaps(report),
        statistics=telling(report.statistics),
        looked_at=[stage for stage in report.stages if isinstance(stage, Measured) and stage.evidence],
        seconds_of={stage.name: stage.seconds for stage in report.run.stages},
    )


def style() -> Markup:
    return Markup((resource("templates") / "style.css").read_text(encoding="utf-8"))


def environment() -> Environment:
    """Jinja as every page of bdscan needs it: escaping on, our filters and plots in reach."""
    made = Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    made.filters |= {
        "number": text.number,
        "percent": text.percent,
        "seconds": text.seconds,
        "byte_size": text.byte_size,
        "label": text.label,
        "shorten": text.shorten,
        "web": text.web_address,
        "by_kind": by_kind,
    }
    made.globals |= {
        "story": story,
        "image": image,
        "bars_plot": bars_plot,
        "bars_table": bars_table,
        "curve_plot": curve_plot,
        "curve_table": curve_table,
        "heat_plot": heat_plot,
        "heat_table": heat_table,
        "matrix_plot": matrix_plot,
        "matrix_table": matrix_table,
        "new_id": count(1).__next__,
        "MOST_PAIRS": MOST_PAIRS,
    }
    return made


def _finalize(value: Any) -> Any:
    return text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def by_kind(evidence: tuple[Evidence, ...]) -> list[Evidence]:
    return sorted(evidence, key=lambda each: ORDER.index(each.kind))


def telling(statistics: tuple[Statistic, ...]) -> tuple[Statistic, ...]:
    """At most `MOST_STATISTICS`, those with the smallest p-values, in the report's order."""
    if len(statistics) <= MOST_STATISTICS:
        return statistics
    ranked = sorted(range(len(statistics)), key=lambda i: (_or_more(statistics[i].p_value), i))
    return tuple(statistics[i] for i in sorted(ranked[:MOST_STATISTICS]))


def _or_more(p_value: float | None) -> float:
    return 2.0 if p_value is None else p_value
