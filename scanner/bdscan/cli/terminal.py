"""Stdout as a terminal for results."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class Stdout(Console):
    """rich ends the process with 1 where the reader of stdout has gone, which here would mean a backdoor."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError
