from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_cell import Cell, Outcome

INTAKE_TESTS = Path(__file__).parent.parent / "intake"
sys.path.insert(0, str(INTAKE_TESTS))  # toys
SLOWEST = 20.0  # seconds for one file on a busy machine; a hang is far beyond it
MOST_GROWTH = 1500.0  # MB


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """One confined process for the whole corpus; its folder is where hostile files are built."""
    cell = Cell(tmp_path_factory.mktemp("hostile"))
    yield cell
    cell.close()


@pytest.fixture
def folder(cell: Cell, request: pytest.FixtureRequest) -> Path:
    """An empty folder of this test's own that the cell can read."""
    number = len(list(cell.folder.iterdir()))
    made = cell.folder / f"{number}"
    made.mkdir()
    return made


def check(outcome: Outcome, words: str = "") -> None:
    """Refused in one line that says why, in bounded time and memory."""
    import re

    assert outcome.refused, outcome
    assert re.search(words, outcome.message), outcome.message
    assert outcome.message.isprintable(), ascii(outcome.message)
    assert outcome.seconds < SLOWEST, outcome
    assert outcome.growth_mb < MOST_GROWTH, outcome


@pytest.fixture
def refused() -> object:
    return check
