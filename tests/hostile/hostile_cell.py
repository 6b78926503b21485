"""A process behind the scanner's own walls that opens hostile files one after another: `python -m hostile_cell FOLDER`.

It may read FOLDER and write in FOLDER/private. Requests come as JSON lines on stdin, `{"do": ..., "settings": ...}`,
and each is answered by one JSON line. Importing torch once is what makes a corpus of a hundred files cheap; the whole
worker is tried on a few of them in `test_hostile_scans.py`.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MEMORY_GB = 3


@dataclass(frozen=True)
class Outcome:
    """How a file ended: `usage`, `judge` (refused in one line), `loaded`, `internal` (a type of error nobody expected),
    `memory`, or what happened to the process: `died`, `hung`."""

    kind: str
    message: str
    seconds: float = 0.0
    growth_mb: float = 0.0

    @property
    def refused(self) -> bool:
        return self.kind in ("usage", "judge") and "\n" not in self.message and 0 < len(self.message) <= 1000


class Cell:
    """Starts the process when it is first asked, and again when a file has killed it."""

    def __init__(self, folder: Path, patience: float = 60) -> None:
        self.folder, self.patience = folder, patience
        self.process: subprocess.Popen[str] | None = None
        self.starts = 0
        (folder / "private").mkdir(parents=True, exist_ok=True)

    def ask(self, do: str, **settings: object) -> Outcome:
        if self.process is None:
            self._start()
        process = self.process
        assert process is not None
        process.stdin.write(
            json.dumps({"do": do, "settings": {"model": "absent", "samples": "absent", **settings}}) + "\n"
        )
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(self.patience)
        line = process.stdout.readline() if ready else ""
        if line:
            return Outcome(**json.loads(line))
        if ready:
            process.wait(timeout=10)  # its channel is closed: it is ending, and how is what counts
        self.close()
        if not ready:
            return Outcome("hung", f"no answer in {self.patience} s")
        status = process.returncode
        return Outcome("died", signal.Signals(-status).name if status < 0 else f"status {status}")

    def _start(self) -> None:
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.starts += 1
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hostile_cell", str(self.folder)],
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.folder / "private"), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout.readline().startswith("ready"), "the cell does not start"

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def main() -> None:
    from bdscan.jail.sandbox import enter
    from bdscan.resources import resource
    from bdscan.settings import Settings

    folder, templates = sys.argv[1], str(resource("templates"))  # reports are rendered outside the worker otherwise
    settings = Settings(
        model="absent", samples=folder, labels=templates, device="cpu", memory_gb=MEMORY_GB, time_limit=100_000
    )
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    walls = enter(settings, str(Path(folder) / "private"))
    import warnings

    import torch

    from bdscan.jail.limits import apply_limits

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    actions = make_actions()
    apply_limits(settings, cuda=False)
    print(f"ready: {walls.level}", file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer(actions[request["do"]], Settings(**request["settings"], device="cpu"))), file=out)
        out.flush()


def make_actions() -> dict[str, object]:
    """`load`: model and samples, as a scan begins; `model`: the model alone; `samples`, `labels`, `rules`, `report`."""
    import torch

    from bdscan.errors import CannotJudge, UsageError
    from bdscan.formats import render
    from bdscan.intake import load
    from bdscan.intake.label_names import read_labels
    from bdscan.intake.load import printable
    from bdscan.intake.network import open_network
    from bdscan.intake.samples import read_samples
    from bdscan.onnx import OnnxError
    from bdscan.resources import resource
    from bdscan.rules import load_rules
    from bdscan.saved import read_report

    def model(settings: object) -> object:
        try:
            network = open_network(settings.model, settings.arch, torch.device("cpu"))
        except (OnnxError, CannotJudge) as error:  # as `load` shows them
            raise CannotJudge(printable(str(error))) from None
        except UsageError as error:
            raise UsageError(printable(str(error))) from None
        return network.format

    def report(settings: object) -> None:
        value = read_report(settings.model)
        for name in ("json", "html", "text", "sarif", "junit", "markdown", "cyclonedx"):
            render(value, name)

    return {
        "load": load,
        "model": model,
        "samples": lambda settings: read_samples(settings.samples, 0),
        "labels": lambda settings: read_labels(settings.labels),
        "rules": lambda settings: load_rules(resource("rules"), settings.rules),
        "report": report,
    }


def answer(action: object, settings: object) -> dict[str, object]:
    from bdscan.errors import CannotJudge, UsageError
    from bdscan.jail.worker import NO_MEMORY

    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind, message = "loaded", ""
    try:
        action(settings)
    except UsageError as error:
        kind, message = "usage", str(error)
    except CannotJudge as error:
        kind, message = "judge", str(error)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"[:2000]
        lacking = isinstance(error, MemoryError) or any(words in message.lower() for words in NO_MEMORY)
        kind = "memory" if lacking else "internal"
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"kind": kind, "message": message, "seconds": time.perf_counter() - began, "growth_mb": growth}


if __name__ == "__main__":
    main()
