"""The process that opens the model: `python -P -m bdscan.jail.worker FD`, settings as one JSON line on stdin.

Order matters. The sandbox comes first, while there is one thread: Landlock does not hold for threads that run already,
and torch and onnxruntime start some when they are imported (onnxruntime's tries to reach the network). Then they are
imported, then the limits fall, then the first byte of the model is parsed. Frames go to the pipe FD; whatever a library
prints goes where the parent sent stdout and stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import BinaryIO, Final

from bdscan.errors import CannotJudge, UsageError
from bdscan.jail.compute import deterministic, uses_cuda
from bdscan.jail.limits import apply_limits
from bdscan.jail.sandbox import COMPLETE, enter
from bdscan.jail.wire import ENOUGH, MESSAGE_LENGTH, TRACE_LENGTH, Failure, Frame, Step, encode
from bdscan.mitigate.outcome import Profile
from bdscan.repair.outcome import Repair
from bdscan.report import Isolation, Report
from bdscan.settings import ProfileSettings, RepairSettings, Settings

SETTINGS_LENGTH: Final = 1_000_000
BETWEEN_STEPS: Final = 0.05  # seconds: a loop may report every iteration, a terminal needs twenty a second
NO_MEMORY: Final = (
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "cannot allocate memory",
    "failed to map segment",  # a library that no longer fits
)


def main() -> int:
    """Run one scan; 0 if a frame with its outcome was sent."""
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    with os.fdopen(channel, "wb") as out:
        send = _sender(out)
        try:
            settings = _settings(sys.stdin.buffer.readline(SETTINGS_LENGTH))
            walls = enter(settings, os.environ["TMPDIR"])
            enough = threading.Event()
            threading.Thread(target=_hear_parent, args=[enough], daemon=True).start()
            _require(settings, walls)
            send(_scan(settings, walls, _throttled(send), enough))
        except Exception as error:
            send(_failure(error))
    return 0


def _settings(line: bytes) -> Settings:
    """Those of a repair or a profile where the line has their fields, else those of a scan."""
    given = json.loads(line).keys()
    kinds: tuple[type[Settings], ...] = (RepairSettings, ProfileSettings)
    kind = next((each for each in kinds if given == each.model_fields.keys()), Settings)
    return kind.model_validate_json(line)


def _require(settings: Settings, walls: Isolation) -> None:
    if settings.require_sandbox and walls.level != COMPLETE:
        raise UsageError(f"--require-sandbox: this system does not give it; missing: {'; '.join(walls.missing)}")


def _scan(
    settings: Settings, walls: Isolation, progress: Callable[[str, float], None], enough: threading.Event
) -> Report | Repair | Profile:
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    from bdscan.pipeline import run as run_pipeline

    sys.dont_write_bytecode = True  # an --arch file's folder is the user's
    limits = apply_limits(settings, cuda=uses_cuda(settings))
    isolation = walls.model_copy(
        update={"limits": (*walls.limits, *limits.limits), "missing": (*walls.missing, *limits.missing)}
    )
    with deterministic(settings):
        if isinstance(settings, RepairSettings):
            return _repair(settings, isolation, progress, enough)
        if isinstance(settings, ProfileSettings):
            return _profile(settings, isolation, progress)
        report = run_pipeline(settings, progress)
    return _signed(report, isolation)


def _repair(
    settings: RepairSettings, isolation: Isolation, progress: Callable[[str, float], None], enough: threading.Event
) -> Repair:
    from bdscan.repair.run import run

    repair = run(settings, os.environ["TMPDIR"], progress, enough.is_set)
    return repair.model_copy(update={"after": _signed(repair.after, isolation)})


def _profile(settings: ProfileSettings, isolation: Isolation, progress: Callable[[str, float], None]) -> Profile:
    from bdscan.mitigate.run import run

    return run(settings, os.environ["TMPDIR"], progress).model_copy(update={"isolation": isolation})


def _signed(report: Report, isolation: Isolation) -> Report:
    """With what the pipeline cannot know."""
    run = report.run.model_copy(update={"peak_memory_mb": peak_memory_mb()})
    return report.model_copy(update={"isolation": isolation, "run": run})


def peak_memory_mb() -> float:
    """The most resident memory this process had, MB.

    On Linux from the process's own account: `getrusage` starts with what the process that forked this one had.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return round(int(line.split()[1]) * 1024 / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _failure(error: Exception) -> Failure:
    trace = "".join(traceback.format_exception(error))[-TRACE_LENGTH:]
    said = str(error)[:MESSAGE_LENGTH]
    if isinstance(error, UsageError):
        return Failure(code="usage", message=said, trace=trace)
    if isinstance(error, CannotJudge):
        return Failure(code="judge", message=said, trace=trace)
    if isinstance(error, MemoryError) or any(words in said.lower() for words in NO_MEMORY):
        return Failure(code="judge", message="the scan ran out of memory; give it more with --memory-gb", trace=trace)
    first = said.splitlines()[0] if said else "no message"
    return Failure(code="internal", message=f"{type(error).__name__}: {first}"[:MESSAGE_LENGTH], trace=trace)


def _sender(out: BinaryIO) -> Callable[[Frame], None]:
    def send(frame: Frame) -> None:
        out.write(encode(frame))
        out.flush()

    return send


def _throttled(send: Callable[[Frame], None]) -> Callable[[str, float], None]:
    last_stage, last_time = "", 0.0

    def progress(stage: str, share: float) -> None:
        nonlocal last_stage, last_time
        now = time.monotonic()
        if stage == last_stage and share < 1 and now - last_time < BETWEEN_STEPS:
            return
        last_stage, last_time = stage, now
        send(Step(stage=stage, share=min(max(share, 0.0), 1.0)))

    return progress


def _hear_parent(enough: threading.Event) -> None:
    """The end of our stdin is the parent's end, however it came. Before that the parent may say `ENOUGH`."""
    while sys.stdin.buffer.read(1) == ENOUGH:
        enough.set()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
