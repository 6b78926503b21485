"""What the worker may use up. Set after torch is imported and before the model is opened; never raised again."""

from __future__ import annotations

import math
import resource
from typing import Final

from bdscan.jail.room import MIB, largest_file, model_bytes
from bdscan.report import Isolation
from bdscan.settings import Settings

GIB = 2**30
# A CUDA build of torch maps about 3 GiB before it allocates anything, and each thread's arena reserves address space.
ADDRESS_SLACK: Final = 8 * GIB
OPEN_FILES: Final = 512
CPU_GRACE: Final = 30  # seconds between the signal that ends a worker over its CPU time, and the kill


def apply_limits(settings: Settings, cuda: bool) -> Isolation:
    """Limit this process for good; returns what was reached, and what this system refused.

    RLIMIT_DATA bounds what is allocated. RLIMIT_AS also bounds what a file can claim by being mapped; CUDA reserves
    more address space than any machine has, so there it stays open and the report says so.
    """
    memory = int(settings.memory_gb * GIB)
    cpu = math.ceil(settings.time_limit * settings.threads) + CPU_GRACE
    largest = largest_file(model_bytes(settings))
    wanted = {
        f"memory {settings.memory_gb:g} GiB": (resource.RLIMIT_DATA, memory),
        f"CPU time {cpu} s": (resource.RLIMIT_CPU, cpu),
        f"file size {largest // MIB} MiB": (resource.RLIMIT_FSIZE, largest),
        f"{OPEN_FILES} open files": (resource.RLIMIT_NOFILE, OPEN_FILES),
        "no core dump": (resource.RLIMIT_CORE, 0),
    }
    missing: list[str] = []
    if cuda:
        missing.append("address space (CUDA)")
    else:
        space = memory + ADDRESS_SLACK
        wanted[f"address space {space / GIB:g} GiB"] = (resource.RLIMIT_AS, space)
    reached = [f"wall clock {settings.time_limit:g} s", "own process group", "bare environment"]
    for words, (kind, value) in wanted.items():
        (reached if _limit(kind, value) else missing).append(words)
    return Isolation(level="process limits", limits=tuple(reached), missing=tuple(missing))


def _limit(kind: int, value: int) -> bool:
    """Whether the limit is now `value` or, where the system already allowed less, that."""
    _, hard = resource.getrlimit(kind)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    ceiling = least + CPU_GRACE if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else least
    try:
        resource.setrlimit(kind, (least, ceiling))
    except (OSError, ValueError):
        return False
    return True
