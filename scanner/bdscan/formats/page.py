"""What every page shares: the template engine, set once so that no template can forget to make a string inert."""

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
from bdscan.formats.plots.rates import counted, rate_text, rates_plot
from bdscan.report import Evidence
from bdscan.resources import resource

MOST_PAIRS: Final = 24
ORDER: Final = ("gallery", "picture", "bars", "curve", "matrix", "trigger")  # what convinces at a glance comes first


def environment() -> Environment:
    """A fresh one for each page, since ids count up. Every string passes `visible` and Jinja's escaping."""
    folder = resource("templates")
    made = Environment(
        loader=FileSystemLoader(folder),
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
        "rate": rate_text,
        "counted": counted,
    }
    made.globals |= {
        "style": Markup((folder / "style.css").read_text(encoding="utf-8")),
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
        "rates_plot": rates_plot,
        "new_id": count(1).__next__,
        "MOST_PAIRS": MOST_PAIRS,
    }
    return made


def by_kind(evidence: tuple[Evidence, ...]) -> list[Evidence]:
    return sorted(evidence, key=lambda each: ORDER.index(each.kind))


def _finalize(value: Any) -> Any:
    return text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
