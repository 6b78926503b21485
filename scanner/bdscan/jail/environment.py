"""The environment of the worker: what python, torch and CUDA need to start. Tokens and keys stay outside."""

from __future__ import annotations

import os
import site
from collections.abc import Mapping
from typing import Final

from bdscan.settings import Settings

KEPT: Final = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
)  # fmt: skip

# Without the first, a small network's threads spend as long asleep as at work; with the default of 300,000 they stall
# each other on a busy machine. Without the others every large tensor is a new mapping whose pages fault one by one.
FAST: Final = {
    "GOMP_SPINCOUNT": "20000",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 26),
}


def worker_environment(settings: Settings, private: str, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for the worker. `private` is its own empty folder: home, and place for temporary files."""
    threads = str(settings.threads)
    environment = {name: given[name] for name in KEPT if name in given}
    environment |= {"HOME": private, "TMPDIR": private}
    environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    environment["ORT_DISABLE_TELEMETRY"] = "1"  # the sandbox blocks it; where there is none, this asks
    environment |= FAST
    environment |= {
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    if site.ENABLE_USER_SITE:
        environment["PYTHONUSERBASE"] = site.getuserbase()  # packages installed for the user are found from HOME
    return environment
