"""A command as a user runs it, from the start of its process to its end: seconds and peak memory.

Linux charges a new process with the memory of the one that forked it, as it was at the `exec`. A caller with torch in
memory would so measure itself; a small process in between starts the command and measures it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COMMAND: Final = (sys.executable, "-m", "bdscan.cli.main")
STOPWATCH: Final = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print([time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status)])
"""


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
        stopwatch = [sys.executable, "-S", "-c", STOPWATCH, *COMMAND, *arguments]
        said = subprocess.run(stopwatch, stdout=subprocess.PIPE, stderr=log, check=True).stdout
        log.seek(0)
        errors = log.read().decode(errors="replace")
    seconds, peak, code = json.loads(said)
    per_mb = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss counts bytes there, kilobytes on Linux
    return Timed(seconds, peak / per_mb, code, errors)
