from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path

import pytest

import bdscan
from bdscan import api
from bdscan.errors import UsageError
from bdscan.settings import Settings

sys.path.insert(0, str(Path(__file__).parent / "jail"))
import fake_report


@pytest.fixture
def model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "s").mkdir()
    return tmp_path / "m.onnx"


@pytest.fixture
def pipeline(monkeypatch):
    """A stand-in for bdscan.pipeline; returns the settings it was called with."""
    seen = []

    def run(settings, progress):
        progress("load", 1.0)
        seen.append(settings)
        return fake_report.make(settings)

    fake = types.ModuleType("bdscan.pipeline")
    fake.run = run
    monkeypatch.setitem(sys.modules, "bdscan.pipeline", fake)
    return seen


def test_the_keywords_and_defaults_are_those_of_the_settings():
    parameters = inspect.signature(api.scan).parameters
    assert set(parameters) == set(Settings.model_fields) | {"isolate", "progress"}
    for name, field in Settings.model_fields.items():
        if not field.is_required():
            assert parameters[name].default == field.default, name


def test_a_scan_in_this_process_takes_paths_and_says_that_nothing_isolated_it(model, pipeline):
    steps = []
    report = bdscan.scan(
        model, model.parent / "s", detectors=["steps"], isolate=False, progress=lambda *step: steps.append(step)
    )
    assert isinstance(report, bdscan.Report)
    assert report.isolation.level == "none"
    assert "limits" in report.isolation.missing
    assert steps == [("load", 1.0)]
    assert pipeline == [Settings(model=str(model), samples=str(model.parent / "s"), detectors=("steps",))]


def test_isolation_is_the_default(model, monkeypatch):
    called = []
    monkeypatch.setattr("bdscan.jail.parent.run_isolated", lambda settings, progress, stop: called.append(settings))
    bdscan.scan(model, model.parent / "s")
    assert called == [Settings(model=str(model), samples=str(model.parent / "s"))]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model": "absent.onnx"}, "model: cannot read 'absent.onnx'"),
        ({"model": "."}, "is a folder"),
        ({"samples": "absent"}, "--samples: cannot read"),
        ({"arch": "absent.py:make"}, "--arch: cannot read 'absent.py'"),
        ({"budget": "huge"}, "--budget: input should be 'quick', 'standard' or 'thorough'"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(model, pipeline, change, words):
    values = {"model": model, "samples": model.parent / "s", "isolate": False} | change
    with pytest.raises(UsageError, match=words):
        bdscan.scan(**values)
    assert pipeline == []
