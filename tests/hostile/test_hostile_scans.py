"""A representative few through `bdscan scan` itself: the real parent, the real worker, the exit code, one line."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from hostile_archives import write as write_archive
from hostile_graphs import write as write_graph
from hostile_pickles import payload, torch_zip
from hostile_scripts import BODIES, ENDLESS, script
from toys import toy, write_npz
from typer.testing import CliRunner

from bdscan.cli.main import app

NAME = "\x1b[2J\u202e<b>[red]evil[red]\nsecond line.pt"


def scan(folder: Path, model: Path, *more: str) -> tuple[int, str, float]:
    samples = write_npz(folder / "samples.npz")
    began = time.monotonic()
    arguments = [
        "scan",
        str(model),
        "--samples",
        str(samples),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--budget",
        "quick",
    ]
    result = CliRunner().invoke(app, [*arguments, "--quiet", *more])
    return result.exit_code, result.stderr, time.monotonic() - began


def is_one_inert_line(said: str) -> bool:
    return said.startswith("bdscan: ") and said.count("\n") == 1 and said[:-1].isprintable() and len(said) < 1200


def test_a_pickle_by_its_worst_name(tmp_path: Path) -> None:
    model = tmp_path / NAME
    torch_zip(model, payload("os.system", tmp_path / "marker"))
    code, said, _ = scan(tmp_path, model)
    assert code == 3
    assert is_one_inert_line(said), said
    assert "os.system" in said
    assert not (tmp_path / "marker").exists()


def test_an_endless_program_ends_at_the_time_limit(tmp_path: Path) -> None:
    model = script(tmp_path / "m.pt", ENDLESS, tmp_path / "marker")
    code, said, seconds = scan(tmp_path, model, "--time-limit", "15")
    assert (code, "time limit of 15 s" in said) == (3, True), said
    assert is_one_inert_line(said)
    assert seconds < 40


def test_a_program_that_takes_all_memory(tmp_path: Path) -> None:
    model = script(tmp_path / "m.pt", BODIES["asks for terabytes"], tmp_path / "marker")
    code, said, _ = scan(tmp_path, model, "--memory-gb", "2")
    assert code == 3
    assert is_one_inert_line(said), said


def test_an_archive(tmp_path: Path) -> None:
    code, said, _ = scan(tmp_path, write_archive("a torch.export archive with pickled payloads", tmp_path))
    assert code == 2
    assert is_one_inert_line(said), said


def test_a_graph_that_reads_elsewhere(tmp_path: Path) -> None:
    code, said, _ = scan(tmp_path, write_graph("a hard link", tmp_path))
    assert code == 3
    assert is_one_inert_line(said), said


def test_an_arch_file_is_the_users_code_and_runs_behind_the_walls(tmp_path: Path) -> None:
    """It is run, as the documents say; what it does stays in the worker."""
    arch = tmp_path / "arch" / "arch.py"
    arch.parent.mkdir()
    arch.write_text(
        "from torch import nn\nimport os, pathlib\n"
        "def make():\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'marker').write_text('x')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))\n"
    )
    torch.save(toy().state_dict(), tmp_path / "m.pt")
    code, said, _ = scan(tmp_path, tmp_path / "m.pt", "--arch", f"{arch}:make")
    assert code == 2
    assert "the factory raises PermissionError" in said
    assert is_one_inert_line(said), said
    assert not (tmp_path / "marker").exists()
