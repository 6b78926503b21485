"""A scan as a job for Ray: settings in, a report or an error out, both as JSON.

The node runs it as this machine would, in a jailed worker process with limits; only what asks for it is elsewhere.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from threading import Event

from bdscan import api
from bdscan.cache_key import program_digest
from bdscan.errors import CannotJudge, UsageError
from bdscan.jail.parent import WorkerFailed, one_line
from bdscan.jail.wire import TRACE_LENGTH, Failure, Reader, WireError, encode
from bdscan.on_ray.engine import Say, call, gpus_for
from bdscan.report import Report, Value
from bdscan.settings import Settings


class Order(Value):
    """A scan of `settings`, whose relative paths start at `folder`, by the program whose digest this is."""

    settings: Settings
    folder: str
    program: str


def scan_on_ray(say: Say) -> Callable[[Settings, Callable[[str, float], None], Event], Report]:
    """A scan for `executor.run_all`: on a node of the Ray that `engine.connected` has started.

    Raises as `api.run` does, and as `engine.call`.
    """
    here = os.getcwd()

    def scan(settings: Settings, progress: Callable[[str, float], None], stop: Event) -> Report:
        progress("ray", 0.0)
        order = Order(settings=settings, folder=here, program=program_digest())
        answer = call(
            answered,
            order.model_dump_json().encode(),
            cpus=settings.threads,
            gpus=gpus_for(settings.device),
            stop=stop,
            say=lambda text: say(f"{settings.model}: {text}"),
        )
        report = _report(answer)
        progress("ray", 1.0)
        return report

    return scan


def answered(order: bytes) -> bytes:
    """On the node: one frame of `jail.wire`, with the report or with what went wrong."""
    try:
        asked = Order.model_validate_json(order)
        enter(asked.folder, asked.program)
        return encode(api.run(asked.settings))
    except (UsageError, CannotJudge) as error:
        code, said = ("usage" if isinstance(error, UsageError) else "judge"), str(error)
        return encode(Failure(code=code, message=one_line(said), trace=getattr(error, "trace", "")[-TRACE_LENGTH:]))
    except Exception as error:
        return encode(Failure(code="internal", message=one_line(f"unexpected {type(error).__name__}: {error}")))


def enter(folder: str, program: str) -> None:
    """On the node: go to `folder`. `UsageError` where it is not there, or where this bdscan is another one."""
    host = platform.node()
    if program_digest() != program:
        raise UsageError(
            f"the Ray node {host} has another bdscan, Python or library than this machine; install the same"
        )
    try:
        os.chdir(folder)
    except OSError as error:
        raise UsageError(
            f"the Ray node {host} has no folder {folder!r} ({error.strerror}); Ray nodes must share the file system"
        ) from None


def _report(answer: bytes) -> Report:
    try:
        frame = next(Reader().feed(answer), None)
    except WireError as error:
        raise WorkerFailed(f"a Ray node sent {one_line(str(error))}; its answer was thrown away") from None
    if isinstance(frame, Report):
        return frame
    if isinstance(frame, Failure) and frame.code == "usage":
        raise UsageError(one_line(frame.message))
    if isinstance(frame, Failure):
        raise WorkerFailed(one_line(frame.message), frame.trace)
    what = "no answer at all" if frame is None else "the answer to another question"
    raise WorkerFailed(f"a Ray node sent {what}; the model is not judged")
