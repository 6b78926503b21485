"""What the worker leaves is believed only where it is a plain file of plausible size with the digest it told."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from bdscan.deliver import SPARE, deliver, may_write, named
from bdscan.errors import CannotJudge
from bdscan.repair.outcome import Accuracy, Rate, Repair
from bdscan.report import FileDigest, Tool

sys.path.insert(0, str(Path(__file__).parent / "formats"))
import sample

CONTENT = b"weights"
SCHEMA = Path(__file__).parents[1] / "docs" / "repair.schema.json"


def account(outcome: str = "repaired", content: bytes = CONTENT, beside: bytes | None = None) -> Repair:
    def digest(data: bytes) -> FileDigest:
        return FileDigest(path="m", role="model", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))

    rate = Rate(hits=9, n=10)
    after = sample.clean()
    sidecar = () if beside is None else (digest(beside).model_copy(update={"role": "sidecar"}),)
    files = (digest(content), *sidecar)
    after = after.model_copy(update={"subject": after.subject.model_copy(update={"files": files})})
    return Repair(
        tool=Tool(version="0.1.0"),
        outcome=outcome,
        summary="done",
        source=digest(b"old"),
        result=digest(content),
        report_digest="0" * 64,
        accuracy=Accuracy(before=rate, after=rate, lost=0, gained=0, p_value=1.0),
        triggers=(),
        rounds=(),
        before=sample.backdoor(),
        after=after,
        settings={},
        seconds=1.0,
    )


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "new.onnx").write_bytes(CONTENT)
    return folder


def test_a_repaired_model_its_weights_and_the_account_are_written(private: Path, tmp_path: Path) -> None:
    (private / "new.onnx.data").write_bytes(b"more")
    output = str(tmp_path / "new.onnx")
    written = deliver(private, account(beside=b"more"), "new.onnx", output, 100)
    assert written == (output, output + ".data", output + ".repair.json")
    assert [Path(p).read_bytes() for p in written[:2]] == [CONTENT, b"more"]
    kept = json.loads(Path(written[2]).read_text())
    assert kept["outcome"] == "repaired"
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
    schema.validate(kept)
    assert not schema.is_valid(kept | {"outcome": "fine"})


@pytest.mark.parametrize("before", ["nothing", "a model alone", "a pair", "links to a pair"])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_an_interrupt_leaves_no_model_with_weights_of_another(
    cut: int, before: str, private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It falls before the rename number `cut`; with two, it falls on that of the account."""
    (private / "new.onnx.data").write_bytes(b"more")
    output, weights, store = tmp_path / "new.onnx", tmp_path / "new.onnx.data", tmp_path / "store"
    store.mkdir()
    place = store if before == "links to a pair" else tmp_path
    if before != "nothing":
        (place / "new.onnx").write_bytes(b"old")
    if "pair" in before:
        (place / "new.onnx.data").write_bytes(b"old's")
    if place == store:
        output.symlink_to(store / "new.onnx")
        weights.symlink_to(store / "new.onnx.data")
    rename, renames = os.replace, iter(range(3))

    def replace(source: str, target: str) -> None:
        if next(renames) == cut:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        deliver(private, account(beside=b"more"), "new.onnx", str(output), 100)
    if output.exists():
        now = output.read_bytes()
        assert now == (CONTENT if cut == 2 else b"old")
        if now == CONTENT or before != "a model alone":  # alone, it reads no other file
            assert weights.read_bytes() == {CONTENT: b"more", b"old": b"old's"}[now]
    else:
        assert cut < 2
    assert not [p for p in (*tmp_path.iterdir(), *store.iterdir()) if p.name.endswith(".bdscan-tmp")]
    assert (output.exists(), before) != (False, "a model alone")
    monkeypatch.undo()
    deliver(private, account(beside=b"more"), "new.onnx", str(output), 100)
    assert (output.read_bytes(), weights.read_bytes()) == (CONTENT, b"more")


def test_weights_that_cannot_be_written_leave_the_older_pair(
    private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (private / "new.onnx.data").write_bytes(b"more")
    output, weights = tmp_path / "new.onnx", tmp_path / "new.onnx.data"
    output.write_bytes(b"old")
    weights.write_bytes(b"old's")
    synced = iter((None, OSError(28, "No space left on device")))

    def fsync(descriptor: int) -> None:
        if error := next(synced):
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        deliver(private, account(beside=b"more"), "new.onnx", str(output), 100)
    assert (output.read_bytes(), weights.read_bytes()) == (b"old", b"old's")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.onnx", "new.onnx.data", "private"]


def test_a_rejected_one_leaves_what_lies_under_the_name_that_was_asked_for(private: Path, tmp_path: Path) -> None:
    """Its weights file too: an accepted model of an earlier repair may still read the one beside it."""
    output = tmp_path / "new.onnx"
    for name in (output, f"{output}.data", f"{output}.repair.json"):
        Path(name).write_text("of an earlier repair")
    (private / "new.onnx").rename(private / "new.onnx.rejected")
    (private / "new.onnx.rejected.data").write_bytes(b"more")
    written = deliver(private, account("rejected", beside=b"more"), "new.onnx", str(output), 100)
    place = f"{output}.rejected"
    assert written == (place, f"{place}.data", f"{place}.repair.json")
    assert set(written) < set(may_write(str(output)))
    for name in (output, f"{output}.data", f"{output}.repair.json"):
        assert Path(name).read_text() == "of an earlier repair"


def test_another_file_than_the_verified_one_is_thrown_away(private: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotJudge, match="not the one it verified"):
        deliver(private, account(content=b"other"), "new.onnx", str(tmp_path / "new.onnx"), 100)
    for beside, left in ((b"other", b"more"), (None, b"more"), (b"more", None)):
        (private / "new.onnx.data").unlink(missing_ok=True)
        if left is not None:
            (private / "new.onnx.data").write_bytes(left)
        with pytest.raises(CannotJudge, match="nothing was written"):
            deliver(private, account(beside=beside), "new.onnx", str(tmp_path / "new.onnx"), 100)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private"]


def test_a_worker_s_account_of_a_repair_that_is_none_is_thrown_away() -> None:
    whole = account("rejected").model_dump()
    with pytest.raises(ValueError, match="second scan is not clean"):
        Repair.model_validate({**whole, "outcome": "repaired", "after": sample.backdoor().model_dump()})
    with pytest.raises(ValueError, match="reasons against it"):
        Repair.model_validate({**whole, "outcome": "repaired", "reasons": ("it alarms",)})


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "huge", "missing", "sidecar link"])
def test_what_is_no_plain_file_is_not_followed(kind: str, private: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    file = private / ("new.onnx.data" if kind == "sidecar link" else "new.onnx")
    file.unlink(missing_ok=True)
    if kind in ("link", "sidecar link"):
        file.symlink_to(secret)
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "huge":
        with file.open("wb") as out:
            out.truncate(SPARE + 101)
    with pytest.raises(CannotJudge, match="nothing was written"):
        deliver(private, account(), "new.onnx", str(tmp_path / "out.onnx"), 100)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private", "secret"]


@pytest.mark.parametrize("outcome, end", [("repaired", ""), ("rejected", ".rejected")])
def test_the_account_names_the_files_that_the_user_finds(outcome: str, end: str) -> None:
    """And never the worker's private folder."""
    whole = account(outcome, beside=b"more")
    private = "/private/new.onnx"
    assert whole.result is not None
    files = tuple(file.model_copy(update={"path": private}) for file in whole.after.subject.files)
    subject = whole.after.subject.model_copy(update={"path": private, "files": files})
    after = whole.after.model_copy(update={"subject": subject, "settings": {"model": private, "seed": 0}})
    result = whole.result.model_copy(update={"path": private})
    told = named(whole.model_copy(update={"after": after, "result": result}), "out/new.onnx")
    assert "/private" not in told.model_dump_json()
    assert told.result is not None
    assert told.result.path == told.after.subject.path == told.after.settings["model"] == f"out/new.onnx{end}"
    assert [file.path for file in told.after.subject.files] == [f"out/new.onnx{end}", f"out/new.onnx{end}.data"]
    assert told.after.settings["seed"] == 0
