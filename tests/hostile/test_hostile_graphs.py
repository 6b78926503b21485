"""ONNX files: each is refused in one line, quickly and in little memory."""

from __future__ import annotations

import pytest
from hostile_graphs import END, GRAPHS, MAY_LOAD, model, two_opsets, write
from toys import write_npz


@pytest.mark.parametrize("name", GRAPHS)
def test_graph(cell, folder, refused, name: str) -> None:
    samples = write_npz(folder / "samples.npz")
    outcome = cell.ask("load", model=str(write(name, folder)), samples=str(samples))
    if name in MAY_LOAD and outcome.kind == "loaded":
        assert outcome.seconds < 20
    else:
        refused(outcome, GRAPHS[name][1])


def test_two_opsets(cell, folder) -> None:
    samples = write_npz(folder / "samples.npz")
    (folder / "m.onnx").write_bytes(two_opsets())
    outcome = cell.ask("load", model=str(folder / "m.onnx"), samples=str(samples))
    assert outcome.kind in ("loaded", "judge"), outcome
    assert outcome.seconds < 30


def test_the_toy_itself_loads(cell, folder) -> None:
    samples = write_npz(folder / "samples.npz")
    (folder / "m.onnx").write_bytes(model(END))
    assert cell.ask("load", model=str(folder / "m.onnx"), samples=str(samples)).kind == "loaded"
