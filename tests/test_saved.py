"""The one reader of saved reports: bounded, told apart by content, one line for every fault."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bdscan import saved
from bdscan.errors import UsageError
from bdscan.repair.outcome import Repair

sys.path.insert(0, str(Path(__file__).parent / "formats"))
import sample
import sample_repair

REPORT = sample.backdoor().model_dump_json().encode()
REPAIR = sample_repair.repaired().model_dump_json().encode()


def test_a_report_and_a_repair_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(REPORT)
    assert saved.read_report(str(file)) == sample.backdoor()
    file.write_bytes(REPAIR)
    assert saved.parse(Repair, saved.read(str(file)), str(file)) == sample_repair.repaired()


def test_they_are_told_apart_by_their_keys() -> None:
    assert saved.is_repair(REPAIR)
    assert saved.is_repair(json.dumps(dict(sorted(json.loads(REPAIR).items())), indent=4).encode())
    for other in (REPORT, b"", b"[]", b"[" * 100_000, b'{"outcome": 3}', b'{"a": {"outcome": "repaired"}}'):
        assert not saved.is_repair(other)


@pytest.mark.parametrize(
    "content, words",
    [
        (None, r"^--report: cannot read '.*r.json' \(No such file or directory\)"),
        (b"{}", r"^--report: '.*' is no bdscan report of schema 1.0: Report is invalid at tool"),
        (b"\xff\xfe", "is no bdscan report"),
        (b'{"advice": {}}', r"^--report: '.*' is a profile; its page is written by `bdscan profile"),
        (REPAIR, r"^--report: '.*' is the report of a repair; name that of a scan$"),
    ],
)
def test_what_is_no_report_of_a_scan_is_refused_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "r.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        saved.read_report(str(file), "--report")
    assert "\n" not in str(caught.value)


def test_no_more_than_the_bound_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(REPORT)
    monkeypatch.setattr(saved, "LARGEST", len(REPORT))
    assert saved.read_report(str(file)) == sample.backdoor()
    monkeypatch.setattr(saved, "LARGEST", len(REPORT) - 1)
    with pytest.raises(UsageError, match=f"larger than any report \\({len(REPORT) - 1} bytes\\)"):
        saved.read_report(str(file))
