"""The private folder of a worker: gone with the scan, and where the scan was killed, gone with a later one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import bdscan
from bdscan.jail.scratch import RAY, WORKER, private_folder, sweep

SCANNER = Path(bdscan.__file__).parents[1].resolve()
OWNER = (
    "from bdscan.jail.scratch import private_folder\n"
    "import sys\n"
    "with private_folder(sys.argv[1]) as folder:\n"
    "    print(folder, flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def old(path: Path) -> Path:
    os.utime(path, (0, 0))
    return path


def test_a_folder_is_its_owners_alone_and_goes_with_it(place):
    with private_folder(WORKER) as folder:
        assert Path(folder).parent == place
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        (Path(folder) / "file").write_bytes(b"x")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("prefix", [WORKER, RAY])
def test_what_a_killed_process_left_goes_when_it_is_old_and_what_lives_stays(place, prefix):
    environment = os.environ | {"PYTHONPATH": str(SCANNER)}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, prefix], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        folder = Path(owner.stdout.readline().strip())
        (folder / "deep").mkdir()
        sweep(str(place))
        assert folder.is_dir(), "its owner lives, and it is young"
        old(folder)
        sweep(str(place))
        assert folder.is_dir(), "its owner lives"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert folder.is_dir()
    with private_folder(WORKER):
        assert not folder.exists()


def test_nothing_else_is_removed(place):
    young, other, file = place / f"{WORKER}young", place / "bdscan-other", place / f"{WORKER}file"
    for folder in (young, other):
        folder.mkdir()
    file.write_bytes(b"x")
    (place / f"{WORKER}link").symlink_to(other)
    for path in (other, file):
        old(path)
    sweep(str(place))
    assert sorted(path.name for path in place.iterdir()) == sorted([young.name, other.name, file.name, f"{WORKER}link"])
    sweep(str(place / "absent"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of somebody else's")
def test_a_folder_of_somebody_elses_stays(place):
    foreign = place / f"{WORKER}foreign"
    foreign.mkdir()
    os.chown(foreign, 12345, 12345)
    sweep(str(place))
    old(foreign)
    sweep(str(place))
    assert foreign.is_dir()
