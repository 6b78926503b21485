"""TorchScript: a program of the file's own. Its look at files is refused by name, and the walls hold without that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_scripts import BODIES, script
from toys import write_npz

from bdscan.jail import landlock

HERE = Path(__file__).parent
WRITES = ("saves a file", "maps a file to write")


def run(walls: str, model: Path, folder: Path) -> str:
    path = os.pathsep.join([str(HERE), str(HERE.parent / "intake"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-P", "-m", "hostile_scripts", walls, str(model), str(folder)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(landlock.abi() == 0, reason="no Landlock on this system")
@pytest.mark.parametrize("name", WRITES)
def test_a_program_writes_where_it_likes_and_behind_the_walls_does_not(tmp_path: Path, name: str) -> None:
    """With torch alone, so that no check of ours stands before the walls."""
    for walls in ("free", "confined"):
        folder = tmp_path / walls
        (folder / "private").mkdir(parents=True)
        (folder / "model").mkdir()
        marker = folder / "marker"
        said = run(walls, script(folder / "model" / "m.pt", BODIES[name], marker), folder)
        assert marker.exists() is (walls == "free"), said
        assert said.startswith("ran") or walls == "confined", said


@pytest.mark.parametrize("name", BODIES)
def test_program_is_refused(cell, folder, refused, name: str) -> None:
    model = script(folder / "m.pt", BODIES[name], folder / "marker")
    samples = write_npz(folder / "samples.npz")
    refused(cell.ask("load", model=str(model), samples=str(samples)))
    assert not (folder / "marker").exists()


def test_the_same_program_without_a_body_loads(cell, folder) -> None:
    model = script(folder / "m.pt", "    y = 1", folder / "marker")
    samples = write_npz(folder / "samples.npz")
    outcome = cell.ask("load", model=str(model), samples=str(samples))
    assert outcome.kind == "loaded", outcome
