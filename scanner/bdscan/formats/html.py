"""HTML: one page without scripts or network, verdict first, evidence next, everything else folded below."""

from __future__ import annotations

from typing import Final

from bdscan.formats import story
from bdscan.formats.page import environment
from bdscan.report import Measured, Report, Statistic

MOST_STATISTICS: Final = 300


def render(report: Report) -> str:
    """The page. The same report gives the same bytes."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            words=story.words(report),
            suspects=story.suspects(report),
            weaknesses=story.weaknesses(report),
            gaps=story.gaps(report),
            statistics=telling(report.statistics),
            looked_at=[stage for stage in report.stages if isinstance(stage, Measured) and stage.evidence],
            seconds_of={stage.name: stage.seconds for stage in report.run.stages},
        )
    )


def telling(statistics: tuple[Statistic, ...]) -> tuple[Statistic, ...]:
    """At most `MOST_STATISTICS`, those with the smallest p-values, in the report's order."""
    if len(statistics) <= MOST_STATISTICS:
        return statistics
    ranked = sorted(range(len(statistics)), key=lambda i: (_or_more(statistics[i].p_value), i))
    return tuple(statistics[i] for i in sorted(ranked[:MOST_STATISTICS]))


def _or_more(p_value: float | None) -> float:
    return 2.0 if p_value is None else p_value
