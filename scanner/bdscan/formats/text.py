"""Strings and numbers for readers. Strings may come from a hostile file: what is invisible is made visible."""

from __future__ import annotations

import unicodedata
from typing import Final
from urllib.parse import urlsplit

from bdscan.report import Label

# Controls, formats (bidi overrides, zero widths, tags), surrogates, private use, unassigned, line and paragraph ends.
HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and marks that draw nothing at all.
BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
SPOKEN: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
MOST_MARKS: Final = 3  # stacked combining marks: enough for every script, too few to paint over other lines


def visible(text: str) -> str:
    r"""`text` with everything invisible, or able to steer a terminal or a line's direction, as an escape (`\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        hidden = category in HIDDEN or char in BLANKS or marks > MOST_MARKS or "\ufe00" <= char <= "\ufe0f"
        out.append(_escape(char) if hidden else char)
    return "".join(out)


def _escape(char: str) -> str:
    code = ord(char)
    plain = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return SPOKEN.get(char, plain)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the middle left out: both ends of a path or a name tell more than one."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def web_address(url: str) -> str:
    """`url` where it is a plain http or https address, else nothing: other schemes can run things."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and parts.netloc and visible(url) == url else ""


def label(value: Label | None, length: int = 60) -> str:
    """`3 · cat`, or `3` where the name says no more than the index."""
    if value is None:
        return "–"
    name = visible(value.name).strip()
    return str(value.index) if name in {"", str(value.index)} else f"{value.index} · {shorten(name, length)}"


def number(value: float | None) -> str:
    """Three significant digits, in plain notation where that is readable; `–` for no value."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        return f"{value:.2e}"
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage that never rounds to a certainty: 0.9999 is `> 99.9 %`, not `100 %`."""
    if share is None:
        return "–"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share in {0.0, 1.0} else f"{100 * share:.1f} %"


def seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def byte_size(value: int) -> str:
    return f"{value / 1e6:,.1f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB"
