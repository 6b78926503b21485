"""A measured command does not outlive the one that measures it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import bdscan

COMMAND = """
import os, pathlib, signal, subprocess, sys, time
def tidy(*_):
    pathlib.Path("tidied").touch()
    sys.exit()
signal.signal(signal.SIGTERM, tidy)
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(300)"
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
pathlib.Path("new").write_text(f"{os.getpid()} {child.pid}")
os.rename("new", "pids")
time.sleep(300)
"""
CALLER = """
import signal, sys
from bdscan.zoo import whole_command
signal.signal(signal.SIGINT, signal.default_int_handler)
whole_command.COMMAND = (sys.executable, "command.py")
whole_command.timed([])
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def soon(true: Callable[[], bool], patience: float = 30) -> bool:
    end = time.monotonic() + patience
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_ends_with_its_caller(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "command.py").write_text(COMMAND)
    path = str(Path(bdscan.__file__).parents[1].resolve())
    with subprocess.Popen(
        [sys.executable, "-c", CALLER], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE
    ) as caller:
        assert soon((tmp_path / "pids").exists)
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        try:
            caller.send_signal(number)
            error = caller.communicate()[1]
            assert caller.returncode == -number
            if number == signal.SIGINT:  # raised again, when the command has ended
                assert b"KeyboardInterrupt" in error
                assert not any(map(alive, pids))
            assert soon(lambda: not any(map(alive, pids)))
            assert (tmp_path / "tidied").exists()  # it was asked before it was killed
        finally:
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)
