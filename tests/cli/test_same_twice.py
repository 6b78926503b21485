"""The same command twice gives the same bytes but for `run`: also with jobs, and from the cache. Real scans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Scan fixtures from the repository's folder; each report's bytes without its `run`, and where it came from."""
    monkeypatch.chdir(FIXTURES.parent)

    def command(code: int, *words: str) -> dict[str, tuple[str, str]]:
        fixed = ["--samples", "fixtures/samples.npz", "--device", "cpu", "--threads", "1", "-q"]
        result = CliRunner().invoke(app, ["scan", *words, *fixed, "-o", f"{tmp_path}/{{name}}.json"])
        assert result.exit_code == code, result.stdout + result.stderr
        found = {}
        for path in tmp_path.glob("*.json"):
            value = json.loads(path.read_text())
            run = value.pop("run")
            assert path.read_text().startswith(json.dumps(value, indent=2)[:-2])
            found[path.stem] = (json.dumps(value), run["cache"])
            path.unlink()
        return found

    return command


def test_with_two_jobs_alone_and_from_the_cache(reports, tmp_path):
    words = ["fixtures/clean-1.onnx", "fixtures/trigger-branch.onnx", "--detectors", "graph,last_layer"]
    words += ["--cache", str(tmp_path / "kept")]
    first = reports(1, *words, "--jobs", "2")
    second = reports(1, *words, "--jobs", "1")
    assert set(first) == {"clean-1.onnx", "trigger-branch.onnx"}
    assert [name for name, (_, cache) in second.items() if cache == "hit"] == ["trigger-branch.onnx"]
    assert second["clean-1.onnx"][1] == "miss", "inconclusive: scanned again, and the same again"
    assert {name: content for name, (content, _) in first.items()} == {
        name: content for name, (content, _) in second.items()
    }


@pytest.mark.slow
def test_whole_scans_with_two_jobs_and_alone(reports):
    words = ["fixtures/clean-1.onnx", "fixtures/sig.onnx", "--budget", "quick"]
    first, second = reports(1, *words, "--jobs", "2"), reports(1, *words)
    assert len(first) == 2
    assert first == second
