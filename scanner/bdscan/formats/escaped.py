"""Markdown and SARIF messages: strings that a reader's program must show as they are, and never as markup."""

from __future__ import annotations

import re
from typing import Final

from bdscan.formats.machine import address, said

ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;"}  # safe inside a table, too
# An empty comment after @ and # keeps GitHub from making mentions and links to issues of them.
SPLIT: Final = {"@": "@<!-- -->", "#": "\\#<!-- -->"}
SPECIAL: Final = str.maketrans(ENTITIES | SPLIT | {char: f"\\{char}" for char in "\\*_[]!~^$"})
# What begins an address (https:, mailto:, www.) and, at a line's start, a list, a rule or a heading's underline.
ADDRESS: Final = re.compile(r"(?<=[a-z]):(?=\S)|(?<=\bwww)\.", re.IGNORECASE)
BLOCK: Final = re.compile(r"^(\d*)([-+=.)])(?=[-=\s]|$)")
PLAIN: Final = re.compile(r"[\w./:+@=,-]+(?: [\w./:+@=,-]+)*", re.ASCII)


def markdown(text: str, length: int = 500) -> str:
    """`text` as one line of Markdown that shows exactly it: no markup, HTML, link, mention or table cell of its own."""
    line = said(text, "–", length).translate(SPECIAL)
    return BLOCK.sub(r"\1\\\2", ADDRESS.sub(r"\\\g<0>", line))


def code(text: str, length: int = 300) -> str:
    """`text` in the type of code where it is harmless there, else as `markdown` shows it."""
    line = said(text, "–", length)
    return f"`{line}`" if PLAIN.fullmatch(line) else markdown(line, length)


def link(title: str, url: str) -> str:
    """A link where `url` is a web address, else the title alone."""
    target = address(url)
    name = markdown(title, 200)
    return name if target is None else f"[{name}](<{target}>)"


def sarif(text: str, length: int = 4000) -> str:
    """`text` as a SARIF message: braces doubled (3.11.5), and no `[text](target)`, which would be a link (3.11.6)."""
    line = said(text, length=length)
    return line.replace("{", "{{").replace("}", "}}").replace("](", "] (")
