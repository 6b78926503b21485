"""A short run of the fuzzer: each parser sees some mutated files, the same ones every time."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    counts, findings = fuzz(tmp_path / "files", seed=3, seconds=45, inputs=400, only="", kept=tmp_path / "kept")
    assert findings == []
    kinds = {kind for _, kind in counts}
    assert {"loaded", "usage", "judge"} <= kinds, "mutations that never load, or are never refused, test nothing"
    assert len({name for name, _ in counts}) > 10
