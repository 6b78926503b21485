"""A command as a user runs it, from the start of its process to its end: seconds and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

COMMAND = (sys.executable, "-m", "bdscan.cli.main")


@dataclass(frozen=True)
class Timed:
    """`peak_mb`: resident memory at its highest, of the largest process among the command and its descendants."""

    seconds: float
    peak_mb: float
    code: int
    errors: str


def timed(arguments: Sequence[str]) -> Timed:
    """Run `bdscan ARGUMENTS` with this Python and wait for it; its output is thrown away, its stderr kept."""
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        errors = log.read().decode(errors="replace")
    per_mb = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss counts bytes there, kilobytes on Linux
    return Timed(seconds, usage.ru_maxrss / per_mb, process.returncode, errors)
