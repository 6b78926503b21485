"""The report of a repair as one page: the outcome, then before and after side by side. No scripts, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bdscan.formats import repair_story, story
from bdscan.formats.page import environment
from bdscan.report import Evidence

if TYPE_CHECKING:
    from bdscan.repair.outcome import Repair

MOST_TRIGGERS: Final = 24
MOST_ROUNDS: Final = 100


def render(repair: Repair) -> str:
    """The page. The same report gives the same bytes."""
    made = environment()
    made.filters["pictured"] = pictured
    made.globals |= {
        "repair_story": repair_story,
        "MOST_TRIGGERS": MOST_TRIGGERS,
        "MOST_ROUNDS": MOST_ROUNDS,
        "MOST_SWITCHES": repair_story.MOST_SWITCHES,
    }
    reasons = repair_story.reasons(repair)
    sizes = repair_story.sizes(repair)
    recovered = {effect.family for effect in repair.triggers}
    main = [each for each in sizes if each.family in recovered] or list(sizes[:1])
    return made.get_template("repair.html.j2").render(
        repair=repair,
        reasons=reasons,
        words=repair_story.words(repair),
        triggers=repair_story.triggers(repair),
        main=main,
        others=[each for each in sizes if each not in main],
        suspects=story.suspects(repair.after),
        weaknesses=story.weaknesses(repair.after),
        gaps=story.gaps(repair.after),
        where=" in the second scan",
    )


def pictured(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """What shows the trigger itself; the plots of the first scan stand beside those of the second."""
    return tuple(each for each in evidence if each.kind in ("gallery", "picture"))
