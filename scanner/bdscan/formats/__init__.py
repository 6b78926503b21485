"""Outputs: one file a format. A format sees a finished Report and returns text; it decides and measures nothing.

A new format is one module with `render(report) -> str`, and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePath
from typing import Final

from bdscan.report import Report


@dataclass(frozen=True)
class Format:
    """`module` is imported on first use, so that a scan to JSON never loads the template engine."""

    suffix: str
    module: str
    description: str
    also: str | None = None  # a second suffix, where a longer one than another format's is in use

    @property
    def render(self) -> Callable[[Report], str]:
        function: Callable[[Report], str] = import_module(f"{__name__}.{self.module}").render
        return function


FORMATS: Final[dict[str, Format]] = {
    "json": Format(".json", "json", "the whole report; docs/report.schema.json describes it"),
    "html": Format(".html", "html", "one self-contained page for people, without scripts or network"),
    "text": Format(".txt", "terminal", "what the terminal shows, without colour"),
    "sarif": Format(".sarif", "sarif", "SARIF 2.1.0, for code scanning", also=".sarif.json"),
    "junit": Format(".xml", "junit", "JUnit XML, for a pipeline's list of tests", also=".junit.xml"),
    "markdown": Format(".md", "markdown", "Markdown, for the summary of a job"),
    "cyclonedx": Format(".cdx.json", "cyclonedx", "CycloneDX 1.6, the model as a component"),
}


def render(report: Report, name: str) -> str:
    """`report` in the format `name`; ends with a newline. `ValueError` for an unknown name."""
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[name].render(report)


def format_for(path: str | PurePath) -> str:
    """The format's name by the suffix of `path`; the longest suffix wins. `ValueError` where none fits."""
    file = PurePath(path).name.lower()
    suffixes = {each.suffix: name for name, each in FORMATS.items()}
    longer = {each.also: name for name, each in FORMATS.items() if each.also}
    fitting = [suffix for suffix in (*suffixes, *longer) if file.endswith(suffix)]
    if not fitting:
        raise ValueError(f"no format for {str(path)!r}: end it with {', '.join(suffixes)}, or give --format")
    return (suffixes | longer)[max(fitting, key=len)]
