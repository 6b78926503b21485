"""Killed, interrupted, two at once: no half-written report, no stale lock, nobody left behind.

`pytest -m slow tests/cli/test_killed.py` kills a hundred scans; the usual run kills ten.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bdscan
from bdscan.cache import Entry
from bdscan.report import Report

JAIL_TESTS = Path(__file__).parent.parent / "jail"
SCANNER = Path(bdscan.__file__).parents[1].resolve()
CODE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "import bdscan.jail.parent as p; p.WORKER = 'quick_worker'\n"
    "from bdscan.cli.main import main; main()"
)
OUTPUTS = ("-o", "{name}.json", "-o", "{name}.sarif", "--summary", "all.json", "--cache", "kept")
MODELS = ("clean", "backdoor")


def start(folder: Path, *words: str, **options) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(JAIL_TESTS), str(SCANNER)])
    for name in (*MODELS, "hang", "hang2/hang"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"m")
    for name in ("samples", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "scan", *words, "--samples", "samples"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def all_whole(folder: Path) -> list[str]:
    """Every file that a scan wrote is complete; the names of those that are there."""
    found = []
    for path in [*folder.glob("*.json"), *folder.glob("*.sarif"), *(folder / "kept").glob("*.json")]:
        found.append(path.name)
        content = path.read_text()
        if path.parent.name == "kept":
            Entry.model_validate_json(content)
        elif path.name in {f"{model}.json" for model in MODELS}:
            assert Report.model_validate_json(content).verdict == path.stem
        else:
            assert json.loads(content)
    return found


def workers_of(pid: int) -> list[int]:
    children = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(word) for word in path.read_text().split()]
    return children


def gone(pids: list[int], patience: float = 10) -> bool:
    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    end = time.monotonic() + patience
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


def kill_many(folder: Path, times: int) -> None:
    chance = random.Random(times)
    began = time.monotonic()
    with start(folder, *MODELS, *OUTPUTS) as process:
        process.communicate()
    whole = time.monotonic() - began
    for path in [*folder.glob("*.json"), *folder.glob("*.sarif"), *(folder / "kept").glob("*")]:
        path.unlink()
    reached = set()
    for number in range(times):
        for path in [*folder.glob("*.json"), *folder.glob("*.sarif")]:
            path.unlink()
        if number % 5 == 0:  # with a warm cache every scan ends early; begin again from nothing
            for path in (folder / "kept").glob("*.json"):
                path.unlink()
        with start(folder, *MODELS, *OUTPUTS, "--jobs", str(1 + number % 2)) as process:
            # Half of the kills fall in the second half of the run, where the reports are written.
            time.sleep(whole * (chance.uniform(0, 1) if number % 2 else chance.uniform(0.5, 1.05)))
            workers = workers_of(process.pid)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert gone(workers)
        reached.add(len(all_whole(folder)))
    with start(folder, *MODELS, *OUTPUTS) as process:
        stderr = process.communicate()[1]
    assert process.returncode == 1, stderr
    assert {"clean.json", "clean.sarif", "backdoor.json", "backdoor.sarif", "all.json"} <= set(all_whole(folder))
    assert min(reached) < len(all_whole(folder)), "some kill fell before all was written"


def test_killed_at_any_moment(tmp_path):
    kill_many(tmp_path, 10)


@pytest.mark.slow
def test_killed_at_any_moment_a_hundred_times(tmp_path):
    kill_many(tmp_path, 100)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_workers_of_several_jobs_and_leaves_nothing(tmp_path, number, code):
    """Silent workers too, at once; the two models that wait are not begun."""
    with start(tmp_path, "hang", "hang2/hang", *MODELS, "--jobs", "2", "-q", "-o", "{path}.json") as process:
        end = time.monotonic() + 30
        while len(workers := workers_of(process.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (code, "")
    assert stderr == ("bdscan: interrupted\n" if number == signal.SIGINT else "")
    assert time.monotonic() - began < 4
    assert not list(tmp_path.glob("*.json"))
    assert len(workers) == 2
    assert gone(workers)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_two_scans_at_once_do_not_disturb_each_other(tmp_path):
    """The same command twice at the same time, on the same outputs and the same cache."""
    for _ in range(3):
        both = [start(tmp_path, *MODELS, *OUTPUTS, "--jobs", "2") for _ in range(2)]
        for process in both:
            stderr = process.communicate()[1]
            assert process.returncode == 1, stderr
        assert len(all_whole(tmp_path)) == 7
        for path in (tmp_path / "kept").glob("*.json"):
            path.unlink()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".bdscan-tmp")]


def test_a_full_disk_is_one_line(tmp_path):
    """/dev/full, and a limit on the size of files, which is how a quota looks from inside."""
    with start(tmp_path, "clean", "-o", "/dev/full", "--format", "json", "-q") as process:
        stderr = process.communicate()[1]
    assert process.returncode == 2
    assert stderr == "bdscan: -o /dev/full: cannot be written (No space left on device); nothing was left there\n"


def test_a_quota_is_one_line_and_leaves_no_part_of_a_report(tmp_path):
    import resource

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    with start(tmp_path, "clean", "-o", "r.html", "-q", "--cache", "kept", preexec_fn=small) as process:
        stderr = process.communicate()[1]
    assert process.returncode == 2
    assert stderr == "bdscan: -o r.html: cannot be written (File too large); nothing was left there\n"
    assert not list(tmp_path.glob("*r.html*"))
    assert not list((tmp_path / "kept").iterdir())
