"""What a published table says of its making, and files that are whole or absent. No path of a machine gets into one."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bdscan import __version__
from bdscan.errors import UsageError

FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:'\"]+/)+(?=[^\s/:'\"]+)")


def made(command: str, **settings: Any) -> dict[str, Any]:
    """The command, the settings, date, versions and processor of a run."""
    return {
        "command": command,
        **settings,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": __version__,
        "torch": torch.__version__,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
    }


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def without_folders(text: str) -> str:
    """The text with every absolute path cut to its last part."""
    return FOLDERS.sub("", text)


def shown_command(words: Iterable[object]) -> str:
    """A command as a reader types it in folders of her own."""
    return " ".join(without_folders(str(word)) for word in words)


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace the file at once, so that a run that is cut short leaves the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def kept_rows(out: Path, how: Mapping[str, Any], differs: str, instead: str) -> list[dict[str, Any]]:
    """The rows of a table that a run goes on with; none where there is no file.

    UsageError, which ends in `instead`, for what is no table, and for one that differs in `how` it was made.
    """
    if not out.exists():
        return []
    try:
        table = json.loads(out.read_text())
        same = all(table[key] == value for key, value in how.items())
        rows = [dict(row) for row in table["rows"]]
        if any("name" not in row for row in rows):
            raise KeyError("name")
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{out}: not a table of this command; remove it, or {instead}") from None
    if not same:
        raise UsageError(f"{out}: made with another {differs}; {instead}")
    return rows


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars in a cell are escaped, None is a dash."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def number(value: float | None, digits: int = 2) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _cell(value: object) -> str:
    return "–" if value is None else " ".join(str(value).split()).replace("|", "\\|")
