"""Conformal p-values by hand, and the file of references that comes with the tool."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bdscan.calibration import ENOUGH, References, load_references
from bdscan.resources import resource


def references(*scores: float) -> References:
    return References(name="r", sha256="0" * 64, scores=scores, note="n")


@pytest.mark.parametrize(
    "score, p",
    [(5.0, 1 / 5), (4.0, 2 / 5), (3.5, 2 / 5), (2.0, 4 / 5), (0.0, 1.0), (1.0, 1.0)],
)
def test_p_value_is_the_share_of_references_at_least_as_high_with_the_scanned_one_among_them(
    score: float, p: float
) -> None:
    assert references(1.0, 2.0, 3.0, 4.0).p_value(score) == pytest.approx(p)


def test_equal_scores_count_against_the_alarm() -> None:
    assert references(2.0, 2.0, 2.0).p_value(2.0) == 1.0


def test_a_clean_network_s_p_value_is_uniform() -> None:
    """Any one of n + 1 exchangeable scores is at most alpha with probability at most alpha: the promise itself."""
    scores = [0.3, 1.1, 1.4, 2.0, 2.2, 3.7, 4.1, 5.9, 6.3, 9.0]
    values = [references(*(s for s in scores if s != one)).p_value(one) for one in scores]
    assert sorted(values) == pytest.approx([(i + 1) / 10 for i in range(10)])


def test_without_references_nothing_is_unusual() -> None:
    assert references().p_value(100.0) == 1.0


def test_forty_nine_references_are_enough_and_fewer_are_provisional() -> None:
    assert references(*range(48)).describe().provisional
    enough = references(*range(49)).describe()
    assert not enough.provisional
    assert enough.references == 49 == ENOUGH
    assert min(references(*range(49)).p_value(s) for s in (1e9,)) == pytest.approx(0.02)


def test_the_file_is_read_with_its_hash(tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    folder.mkdir()
    raw = json.dumps({"name": "x", "note": "y", "models": [{"score": 0.5}, {"score": 2, "model": "m"}]}).encode()
    (folder / "provisional.json").write_bytes(raw)
    found = load_references(tmp_path)
    assert (found.name, found.note, found.scores) == ("x", "y", (0.5, 2.0))
    assert found.sha256 == found.describe().sha256 == hashlib.sha256(raw).hexdigest()


def test_the_shipped_file_loads_and_describes_itself() -> None:
    shown = load_references(resource("rules")).describe()
    assert shown.note
    assert shown.provisional == (shown.references < ENOUGH)
