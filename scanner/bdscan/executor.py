"""Many scans: a list of Settings in, what became of each out, in the order in which they end.

The seam for other ways to run them, on other machines for example: one generator with this signature. A scan is a
worker process of its own already, so the threads here only wait, one for each scan that runs.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from bdscan.report import Report
from bdscan.settings import Settings

Progress = Callable[[str, float], None]
Scan = Callable[[Settings, Progress, threading.Event], Report]  # once set, a scan must end soon
Watch = Callable[[int], Progress]  # the position of a scan that begins -> where it reports its steps

PATIENCE = 5.0  # seconds for interrupted scans to end their workers before the process ends without them


@dataclass(frozen=True)
class Ended:
    """What became of the scan at `index`: a report, or the error that ended it."""

    index: int
    outcome: Report | Exception
    seconds: float


def run_all(settings: Sequence[Settings], scan: Scan, watch: Watch, jobs: int = 1) -> Generator[Ended, None, None]:
    """Each scan once, at most `jobs` at a time. An error ends its own scan only.

    An interrupt, or a caller that closes the generator, sets the event of all scans that run, and begins no more.
    """
    stop = threading.Event()
    if min(jobs, len(settings)) <= 1:
        yield from (_one(index, each, scan, watch(index), stop) for index, each in enumerate(settings))
        return
    waiting, ended = iter(list(enumerate(settings))), queue.SimpleQueue[Ended]()
    lock = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with lock:
                index, each = next(waiting, (-1, None))
            if each is None:
                return
            ended.put(_one(index, each, scan, watch(index), stop))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(settings)))]
    for thread in threads:
        thread.start()
    try:
        for _ in settings:
            yield ended.get()
    finally:
        # A scan that does not hear of its end is left behind: its worker ends with this process.
        stop.set()
        until = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def _one(index: int, settings: Settings, scan: Scan, progress: Progress, stop: threading.Event) -> Ended:
    began = time.monotonic()
    outcome: Report | Exception
    try:
        outcome = scan(settings, progress, stop)
    except Exception as error:  # whatever ends one scan must not end the others; the caller decides what it means
        outcome = error
    return Ended(index, outcome, time.monotonic() - began)
