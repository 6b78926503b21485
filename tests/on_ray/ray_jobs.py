"""Jobs that Ray workers import by name: real ones with a quick worker in the jail, and ones that die."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from bdscan.jail import parent
from bdscan.on_ray import job


def quick_or_deadly(order: bytes) -> bytes:
    """A scan whose jailed worker answers at once (quick_worker.py); the model `deadly` kills who asks for it."""
    asked = job.Order.model_validate_json(order)
    if asked.settings.model == "deadly":
        with (Path(asked.folder) / "deaths").open("a") as deaths:
            deaths.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    real, parent.WORKER = parent.WORKER, "quick_worker"
    try:
        return job.answered(order)
    finally:
        parent.WORKER = real  # this process serves other jobs, too


def raises(order: bytes) -> bytes:
    raise KeyError("boom")


def sleeps(order: bytes) -> bytes:
    """Until it is interrupted, which it says in the file `order`."""
    place = Path(order.decode())
    place.write_bytes(b"begun")
    try:
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        place.write_bytes(b"interrupted")
        raise


def surroundings(order: bytes) -> bytes:
    return repr((os.getcwd(), sys.path)).encode()
