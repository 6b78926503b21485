from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def fake_pipeline(monkeypatch):
    """The worker is the real one, its pipeline is fake_worker.run; PYTHONPATH is how both processes find it."""
    monkeypatch.setattr("bdscan.jail.parent.WORKER", "fake_worker")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
