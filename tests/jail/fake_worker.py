"""The real worker with a pipeline that does what the model's name says (`python -m fake_worker FD`)."""

from __future__ import annotations

import os
import sys
import types

import fake_report


def run(settings, progress):
    act = os.path.basename(settings.model)
    print("a library prints to stdout")
    print("\x1b[31mand to stderr\x1b[0m", file=sys.stderr, flush=True)
    progress("load", 0.0)
    if act == "bug":
        raise KeyError("boom")
    if act == "torch-memory":
        import torch

        return torch.ones(int(settings.memory_gb * 2**30) // 4)
    if act == "spin":
        while True:
            pass
    for share in range(1001):
        progress("search", share / 1000)
    return fake_report.make(settings, extra=fake_report.surroundings() if act == "surroundings" else {})


if __name__ == "__main__":
    sys.modules["bdscan.pipeline"] = types.ModuleType("bdscan.pipeline")
    sys.modules["bdscan.pipeline"].run = run
    from bdscan.jail import sandbox, worker

    enter = worker.enter

    def walls(settings, private):
        """The system has no Landlock where the model's name says so."""
        if settings.model == "no-landlock":
            sandbox.landlock.abi = lambda: 0
        return enter(settings, private)

    worker.enter = walls
    sys.exit(worker.main())
