"""The real parent and the real worker process; only the pipeline is a stand-in (fake_worker.py).

What a worker does against us is played by rude_worker.py, which starts at once because it imports no torch.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bdscan.errors import CannotJudge, UsageError
from bdscan.jail import landlock, parent
from bdscan.jail.parent import Stopped, WorkerFailed, run_isolated
from bdscan.jail.syscalls import ARCHITECTURES
from bdscan.settings import Settings

SANDBOXED = landlock.abi() > 0 and platform.machine() in ARCHITECTURES

pytestmark = pytest.mark.usefixtures("fake_pipeline")


@pytest.fixture
def rude(monkeypatch):
    monkeypatch.setattr(parent, "WORKER", "rude_worker")


def act(name: str, steps: list | None = None, **settings):
    heard = [] if steps is None else steps
    return run_isolated(
        Settings(**{"model": name, "samples": "s", **settings}), lambda stage, share: heard.append((stage, share))
    )


def alive(pid: int) -> bool:
    """Running, and not a zombie that its adopter has not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int, patience: float = 5) -> bool:
    end = time.monotonic() + patience
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_a_report_comes_back_with_progress_limits_environment_and_threads(monkeypatch, capfd):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    steps: list = []
    report = act("surroundings", steps, memory_gb=3, threads=1, time_limit=60, device="cpu")

    assert report.verdict == "clean"
    assert steps[0] == ("load", 0.0)
    assert steps[-1] == ("search", 1.0)
    assert len(steps) < 200, "a thousand steps in an instant are throttled"
    assert report.isolation.level == ("sandbox" if SANDBOXED else "process limits")
    assert "memory 3 GiB" in report.isolation.limits
    words = report.isolation.limits if SANDBOXED else report.isolation.missing
    assert any(line.startswith("file system sandbox") for line in words)
    assert any(line.startswith("system call filter") for line in words)
    assert bool(report.isolation.missing) != SANDBOXED
    assert 50 < report.run.peak_memory_mb < 3000

    seen = {name: value for name, value in report.settings.items() if isinstance(value, str)}
    environment = json.loads(seen["environment"])
    assert "SECRET_TOKEN" not in environment
    assert not Path(environment["HOME"]).exists(), "the private folder is removed"
    assert (seen["threads"], environment["OMP_NUM_THREADS"], seen["deterministic"]) == ("1", "1", "True")
    assert seen["session"] == "True"
    assert "" not in json.loads(seen["path"])
    assert os.getcwd() not in json.loads(seen["path"])
    limits = json.loads(seen["limits"])
    assert limits["RLIMIT_DATA"] == 3 * 2**30
    assert limits["RLIMIT_CPU"] == 90
    assert limits["RLIMIT_CORE"] == 0
    assert limits["RLIMIT_NOFILE"] <= 512

    assert capfd.readouterr() == ("", ""), "what a library prints in the worker reaches nobody"


def test_require_sandbox_refuses_to_run_with_less(monkeypatch):
    assert act("clean", require_sandbox=SANDBOXED).verdict == "clean"
    with pytest.raises(UsageError, match=r"--require-sandbox.*missing: file system sandbox .*no Landlock"):
        act("no-landlock", require_sandbox=True)


def test_a_worker_that_fills_its_folder_is_ended(rude, monkeypatch):
    monkeypatch.setattr("bdscan.jail.scratch.MOST_ENTRIES", 100)
    monkeypatch.setattr("bdscan.jail.parent.BETWEEN_LOOKS", 0.1)
    with pytest.raises(CannotJudge, match="filled its private folder"):
        act("litter")


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("bug", WorkerFailed, "KeyError: 'boom'"),
        ("torch-memory", CannotJudge, "--memory-gb"),
    ],
)
def test_errors_of_the_scan_cross_as_what_they_are(name, kind, words):
    with pytest.raises(kind, match=words) as raised:
        act(name, memory_gb=1)
    if kind is WorkerFailed:
        assert "fake_worker.py" in raised.value.trace


@pytest.mark.parametrize(
    "name, words",
    [
        ("SIGSEGV", "crashed on this model .SIGSEGV"),
        ("SIGKILL", "SIGKILL.*memory"),
        ("SIGXCPU", "CPU time.*--time-limit"),
        ("exit", "status 7"),
        ("flood", "Step of 4294967295 bytes"),
        ("lie", "Report is invalid at tool"),
    ],
)
def test_a_worker_that_dies_or_lies_is_one_clear_line(rude, name, words):
    with pytest.raises(WorkerFailed, match=words) as raised:
        act(name)
    assert str(raised.value).isprintable()
    if name.startswith("SIG"):
        assert raised.value.trace == "\\x1b[31mlast words\\x1b[0m"


def test_what_the_worker_says_is_inert(rude):
    steps: list = []
    with pytest.raises(UsageError, match=r"^one two \\x1b\[2J\\u202etxt.exe$"):
        act("names", steps)
    assert steps == [("\\x1b[2J\\u202e<b>[red]evil[/red]", 0.5)]


def test_the_time_limit_ends_the_whole_process_group(rude):
    steps: list = []
    with pytest.raises(CannotJudge, match=r"time limit of 1.5 s.*--time-limit"):
        act("hang", steps, time_limit=1.5)
    worker, child = (int(word) for word in steps[-1][0].split())
    assert gone(worker)
    assert gone(child)


def test_an_interrupted_parent_leaves_no_worker(rude):
    pids: list[int] = []

    def interrupt(stage: str, share: float) -> None:
        if stage[0].isdigit():
            pids.extend(int(word) for word in stage.split())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated(Settings(model="hang", samples="s"), interrupt)
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_stop_ends_a_silent_worker_at_once(rude):
    pids: list[int] = []
    stop, since = threading.Event(), []

    def heard(stage: str, share: float) -> None:
        if stage[0].isdigit():
            pids.extend(int(word) for word in stage.split())
            since.append(time.monotonic())
            stop.set()

    with pytest.raises(Stopped):
        run_isolated(Settings(model="hang", samples="s"), heard, stop)
    assert time.monotonic() - since[0] < 2
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
    with pytest.raises(Stopped):
        run_isolated(Settings(model="hang", samples="s"), heard, stop)
    assert len(pids) == 2, "no worker was started"


def test_a_killed_parent_leaves_no_worker():
    code = (
        "from bdscan.jail import parent; from bdscan.settings import Settings; parent.WORKER = 'fake_worker'\n"
        "parent.run_isolated(Settings(model='spin', samples='s'), lambda stage, share: print(stage, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "load\n"
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        assert len(children) == 1
        assert alive(children[0])
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert gone(children[0])


def test_the_parent_never_imports_what_parses_models():
    """By its source: neither it nor the wire names torch, onnx, numpy or the pipeline."""
    for name in ("parent", "wire", "environment", "scratch"):
        tree = ast.parse(Path(parent.__file__).with_name(f"{name}.py").read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not {module.split(".")[0] for module in imported} & {"torch", "onnx", "onnxruntime", "numpy", "PIL"}
        assert "bdscan.pipeline" not in imported


def test_peak_memory_is_the_worker_s_own():
    ours = np.ones(600 * 2**17)  # a new process is charged with this at first
    code = "from bdscan.jail.worker import peak_memory_mb; print(peak_memory_mb())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 10 < float(said) < ours.nbytes / 1e6 / 2
