"""The trusted side: starts the worker, believes nothing it says before it is checked, and always ends it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from bdscan.errors import CannotJudge, UsageError
from bdscan.formats.text import shorten, visible
from bdscan.jail import scratch
from bdscan.jail.environment import worker_environment
from bdscan.jail.room import folder_bytes, model_bytes
from bdscan.jail.wire import ENOUGH, Failure, Reader, Step, WireError
from bdscan.mitigate.outcome import Profile
from bdscan.repair.outcome import Repair
from bdscan.report import Report
from bdscan.settings import ProfileSettings, RepairSettings, Settings

WORKER: Final = "bdscan.jail.worker"
BETWEEN_LOOKS: Final = 1.0  # seconds
HEARING: Final = 0.1  # seconds until a stop is heard while the worker is silent
CHUNK: Final = 2**16
LOG_TAIL: Final = 4_000
LINE_LENGTH: Final = 600
DYING: Final = 5.0  # seconds between the end of the worker's channel and its exit status
CRASHES: Final = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)

OTHER_ANSWER: Final = "the worker answered another question than it was asked; its answer was thrown away"

Progress = Callable[[str, float], None]
Answer = Report | Repair | Profile


class Stopped(Exception):
    """Raised for a scan that nobody waits for any more."""


class WorkerFailed(CannotJudge):
    """The worker died or failed in a way that bdscan does not know. `trace` is its own account, for `--debug`."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


def run_isolated(settings: Settings, progress: Progress, stop: threading.Event | None = None) -> Report:
    """Scan in a worker process; its report, validated.

    Raises `UsageError` and `CannotJudge` as the worker did, `CannotJudge` at the time limit, `WorkerFailed` for a
    worker that was killed, crashed or misbehaved, `Stopped` soon after `stop` is set. However this ends, the worker's
    process group is gone.
    """
    with _answered(settings, progress, stop) as (answer, _):
        if isinstance(answer, Report):
            return answer
    raise WorkerFailed(OTHER_ANSWER)


@contextmanager
def repair_isolated(
    settings: RepairSettings, progress: Progress, enough: threading.Event | None = None
) -> Iterator[tuple[Repair, Path]]:
    """Repair in a worker process; its account, validated, and its private folder, gone when the context ends.

    Soon after `enough` is set, training ends with the round that runs, and the worker goes on with what there is.

    The worker itself has gone before. What it wrote is not to be trusted: neither kind nor size of any file.
    """
    with _answered(settings, progress, enough=enough) as (answer, private):
        if not isinstance(answer, Repair):
            raise WorkerFailed(OTHER_ANSWER)
        yield answer, private


@contextmanager
def profile_isolated(settings: ProfileSettings, progress: Progress) -> Iterator[tuple[Profile, Path]]:
    """As `repair_isolated`, for a profile; the folder holds the guarded model, if there is one."""
    with _answered(settings, progress) as (answer, private):
        if not isinstance(answer, Profile):
            raise WorkerFailed(OTHER_ANSWER)
        yield answer, private


@contextmanager
def _answered(
    settings: Settings,
    progress: Progress,
    stop: threading.Event | None = None,
    enough: threading.Event | None = None,
) -> Iterator[tuple[Answer, Path]]:
    stop = stop or threading.Event()
    if stop.is_set():
        raise Stopped
    room = folder_bytes(model_bytes(settings))
    with scratch.private_folder(scratch.WORKER) as private, tempfile.TemporaryFile() as log:
        receiving, sending = os.pipe()
        try:
            try:
                worker = _start(settings, private, sending, log)
            finally:
                os.close(sending)
            try:
                answer = _listen(worker, receiving, settings.time_limit, private, room, progress, stop, log, enough)
            finally:
                _end(worker)
        finally:
            os.close(receiving)
        yield answer, Path(private)


def _start(settings: Settings, private: str, channel: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # -P: the current folder is not on the path, so a `torch.py` that lies beside the model is not imported.
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER, str(channel)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=[channel],
        env=worker_environment(settings, private),
        start_new_session=True,
    )
    assert worker.stdin is not None
    try:
        worker.stdin.write(settings.model_dump_json().encode() + b"\n")
        worker.stdin.flush()  # and stays open: its end tells the worker that we are gone
    except BrokenPipeError:
        pass  # it died at once; its channel's end says so, and how
    return worker


def _listen(
    worker: subprocess.Popen[bytes],
    channel: int,
    time_limit: float,
    private: str,
    room: int,
    progress: Progress,
    stop: threading.Event,
    log: IO[bytes],
    enough: threading.Event | None = None,
) -> Answer:
    reader, deadline = Reader(), time.monotonic() + time_limit
    look = time.monotonic() + BETWEEN_LOOKS
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if stop.is_set():
                raise Stopped
            if enough is not None and enough.is_set():
                enough = None
                _say_enough(worker)
            if time.monotonic() >= look:
                look = time.monotonic() + BETWEEN_LOOKS
                if scratch.overfull(private, room):
                    raise CannotJudge("the worker filled its private folder beyond need; the model may be hostile")
            if not selector.select(min(left, HEARING)):
                continue
            chunk = os.read(channel, CHUNK)
            if not chunk:
                raise WorkerFailed(_death(worker), _tail(log))
            try:
                for frame in reader.feed(chunk):
                    if isinstance(frame, Step):
                        progress(one_line(frame.stage), frame.share)
                    elif isinstance(frame, Failure):
                        raise _error(frame)
                    else:
                        return frame
            except WireError as error:
                raise WorkerFailed(f"the worker sent {one_line(str(error))}; its answer was thrown away") from None
    raise CannotJudge(
        f"no verdict within the time limit of {time_limit:g} s; raise --time-limit or choose a smaller --budget"
    )


def _say_enough(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    with suppress(BrokenPipeError):  # it has ended; its channel says how
        worker.stdin.write(ENOUGH)
        worker.stdin.flush()


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Kill the whole group: also what the worker may have started, and also after the worker itself has gone."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    worker.wait()
    if worker.stdin is not None:
        try:
            worker.stdin.close()
        except BrokenPipeError:
            pass


def _error(failure: Failure) -> Exception:
    message = one_line(failure.message)
    if failure.code == "usage":
        return UsageError(message)
    if failure.code == "judge":
        return CannotJudge(message)
    return WorkerFailed(f"the scan failed ({message}); --debug shows where", _block(failure.trace))


def _death(worker: subprocess.Popen[bytes]) -> str:
    try:
        status = worker.wait(timeout=DYING)
    except subprocess.TimeoutExpired:
        return "the worker closed its channel without an answer"
    if status >= 0:
        return f"the worker ended without an answer (status {status}); --debug shows what it printed"
    name = signal.Signals(-status).name
    if -status == signal.SIGKILL:
        return f"the worker was killed ({name}), most likely for memory; free some, or choose a smaller --budget"
    if -status == signal.SIGXCPU:
        return f"the worker used up its CPU time ({name}); raise --time-limit or choose a smaller --budget"
    cause = "crashed on this model" if -status in CRASHES else "was ended"
    return f"the worker {cause} ({name}); --debug shows what it printed"


def one_line(text: str) -> str:
    """`text` from the worker as one inert line: no control characters, no escapes, no bidi marks, bounded."""
    return shorten(visible(" ".join(text.split())), LINE_LENGTH)


def _block(text: str) -> str:
    return "\n".join(visible(line) for line in text.splitlines())


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL))
    return _block(log.read(LOG_TAIL).decode(errors="replace"))
