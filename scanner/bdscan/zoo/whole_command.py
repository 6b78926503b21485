"""A command as a user runs it, from the start of its process to its end: seconds and peak memory.

Linux charges a new process with the memory of the one that forked it, as it was at the `exec`. A caller with torch in
memory would so measure itself; a small process in between starts the command and measures it. A pipe tells that one
when its caller gives up or is gone, killed even: it then ends the command, and what the command started.
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
import contextlib, os, signal, subprocess, sys, threading, time

def send(number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)

def end():
    os.read(0, 1)  # returns when the caller closes the pipe or is gone
    send(signal.SIGTERM)
    time.sleep(10)  # for its worker and temporary files to go
    send(signal.SIGKILL)

began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0)
threading.Thread(target=end, daemon=True).start()
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
send(signal.SIGKILL)  # what it left running
print([seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status)])
"""


@dataclass(frozen=True)
class Timed:
    """`peak_mb`: resident memory at its highest, of the largest process among the command and its descendants."""

    seconds: float
    peak_mb: float
    code: int
    errors: str


def timed(arguments: Sequence[str]) -> Timed:
    """Run `bdscan ARGUMENTS` with this Python and wait for it; its output is thrown away, its stderr kept.

    However this ends, by an interrupt or any other exception too, the command and its children have ended.
    """
    stopwatch = [sys.executable, "-S", "-c", STOPWATCH, *COMMAND, *arguments]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as log,
        # Its own session: a Ctrl-C or a closed terminal must not end it before the command.
        subprocess.Popen(stopwatch, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.read()
        finally:
            process.stdin.close()
            code = process.wait()
        if code:
            raise subprocess.CalledProcessError(code, stopwatch)
        log.seek(0)
        errors = log.read().decode(errors="replace")
    seconds, peak, code = json.loads(said)
    per_mb = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss counts bytes there, kilobytes on Linux
    return Timed(seconds, peak / per_mb, code, errors)
