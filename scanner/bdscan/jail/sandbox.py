"""The walls around the worker: which of them this system has, and that they stand."""

from __future__ import annotations

import os
import platform
import sys
from typing import Final

from bdscan.jail import landlock
from bdscan.jail.places import has_gpu, places
from bdscan.jail.seccomp import filter_calls
from bdscan.report import Isolation
from bdscan.settings import Settings

COMPLETE: Final = "sandbox"
PARTIAL: Final = "process limits"
FILES, CALLS = "file system sandbox", "system call filter"


def enter(settings: Settings, private: str) -> Isolation:
    """Confine this process for good, before it starts a thread: Landlock holds for the threads that come after it only.

    What cannot be had here is in the result's `missing`; nothing is raised. A level of `COMPLETE` says that both the
    files and the system calls are confined.
    """
    gpu = has_gpu(settings)
    if sys.platform != "linux":
        here = f"{platform.system()} has none that bdscan uses"
        return Isolation(level=PARTIAL, missing=(f"{FILES} ({here})", f"{CALLS} ({here})"))
    alone = _threads() == 1
    files, reason = _confine_files(settings, private, gpu)
    refused = filter_calls(gpu)
    reached, missing = [], []
    if files:
        reached.append(f"{FILES}: Landlock {files}")
    else:
        missing.append(f"{FILES} ({reason})")
    if refused is None:
        reached += ["no new privileges", f"{CALLS}: seccomp"]
    else:
        missing.append(f"{CALLS} ({refused})")
    if files and not alone:
        missing.append(f"{FILES} for threads that ran before it")
    complete = not missing
    if gpu:
        missing.append("GPU driver: its devices and their ioctls are open to the worker")
    return Isolation(level=COMPLETE if complete else PARTIAL, limits=tuple(reached), missing=tuple(missing))


def _confine_files(settings: Settings, private: str, gpu: bool) -> tuple[int, str]:
    """The Landlock version in force, or 0 and why there is none."""
    version = landlock.abi()
    if not version:
        return 0, "this kernel has no Landlock, or it is switched off"
    try:
        landlock.restrict(places(settings, private, gpu), version)
    except OSError as error:
        return 0, f"the kernel refused it: {error.strerror}"
    return version, ""


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0
