"""A kept report is the same report, for the same inputs only, and nothing in the folder is believed unread."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "jail"))
import fake_report

from bdscan import cache as kept
from bdscan import cache_key
from bdscan.cache import cached, keepable, open_cache
from bdscan.errors import UsageError
from bdscan.report import Failed, FileDigest, Report
from bdscan.settings import Settings

forget = cache_key._program.cache_clear


@pytest.fixture(autouse=True)
def fresh():
    """What the program is, is worked out once a process; tests change it."""
    forget()
    yield
    forget()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder of a scan: model with sidecar, samples, labels, rules, an --arch file."""
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "m.data", "r.onnx", "labels.txt", "rules.toml", "net.py"):
        (tmp_path / name).write_text(name)
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_text(name)
    return tmp_path


def settings(**values) -> Settings:
    given = {"model": "m.onnx", "samples": "images", "labels": "labels.txt", "rules": ("rules.toml",)}
    return Settings(**{**given, "arch": "net.py:make", **values})


def report(verdict: str = "clean") -> Report:
    made = fake_report.make(settings(), verdict=verdict)
    files = tuple(
        FileDigest(path=name, role=role, sha256=cache_key.file_digest(name), bytes=1)
        for name, role in (("m.onnx", "model"), ("m.data", "sidecar"), ("net.py", "arch"), ("labels.txt", "labels"))
    )
    return made.model_copy(update={"subject": made.subject.model_copy(update={"files": files})})


class Scan:
    def __init__(self, verdict: str = "clean", **values):
        self.calls, self.report = 0, report(verdict).model_copy(update=values)

    def __call__(self) -> Report:
        self.calls += 1
        return self.report


def ask(scan: Scan, notes: list | None = None, isolate: bool = True, **values) -> Report:
    heard = [] if notes is None else notes
    return cached(open_cache("kept"), settings(**values), isolate, scan, heard.append)


def test_the_second_answer_is_the_first_but_for_where_it_came_from(place):
    scan = Scan()
    first, second = ask(scan), ask(scan)
    assert scan.calls == 1
    assert (first.run.cache, second.run.cache) == ("miss", "hit")
    assert first.model_dump_json(exclude={"run"}) == second.model_dump_json(exclude={"run"})
    assert second.run.started == first.run.started, "a hit says when the scan itself ran"
    assert stat.S_IMODE((place / "kept").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["m.onnx", "m.data", "labels.txt", "rules.toml", "net.py", "images/cat/1.png", "neighbour.py", "images/new"]
)
def test_any_file_that_changes_or_appears_is_scanned_again(place, name):
    scan = Scan()
    ask(scan)
    (place / name).write_text("other")
    assert ask(scan).run.cache == "miss"


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 1},
        {"budget": "quick"},
        {"detectors": ("steps",)},
        {"device": "cpu"},
        {"threads": 1},
        {"preprocessing": "scale=255"},
        {"reference": "r.onnx"},
        {"labels": None},
        {"rules": ()},
        {"arch": None},
        {"time_limit": 60},
        {"model": "./m.onnx"},
        {"isolate": False},
    ],
)
def test_any_other_setting_is_another_scan(place, values):
    scan = Scan()
    ask(scan)
    assert ask(scan, **values).run.cache == "miss"
    assert ask(scan).run.cache == "hit"


@pytest.mark.parametrize("part", ["__version__", "_program"])
def test_another_version_rules_or_calibration_is_another_scan(place, monkeypatch, part):
    scan = Scan()
    ask(scan)
    if part == "__version__":
        forget()
        monkeypatch.setattr(cache_key, "__version__", "9.9")
    else:
        before = cache_key._program()
        assert set(before) >= {"version", "code", "rules", "packages", "python"}
        monkeypatch.setattr(cache_key, "_program", lambda: before | {"rules": "other"})
    assert ask(scan).run.cache == "miss"


def test_rules_and_calibration_that_ship_are_in_the_key(tmp_path, monkeypatch):
    rules = tmp_path / "rules"
    (rules / "calibration").mkdir(parents=True)
    monkeypatch.setattr(cache_key, "resource", lambda name: rules)
    seen = []
    for name in ("10.toml", "calibration/c.json", "few-classes/20.toml", "several-classes/calibration/c.json"):
        (rules / name).parent.mkdir(parents=True, exist_ok=True)
        (rules / name).write_text("x")
        forget()
        seen.append(cache_key._program()["rules"])
    assert len(set(seen)) == 4


def test_samples_behind_links_to_folders_are_in_the_key(tmp_path):
    """Two class folders that are links change places: every image is the same, every label another."""
    for name in ("a", "b"):
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "1.png").write_text(name)
    seen = []
    for cat, dog in (("a", "b"), ("b", "a")):
        samples = tmp_path / f"samples-{cat}"
        samples.mkdir()
        (samples / "cat").symlink_to(tmp_path / "hidden" / cat)
        (samples / "dog").symlink_to(tmp_path / "hidden" / dog)
        seen.append(cache_key._samples(samples))
    assert len(set(seen)) == 2


def test_what_was_not_judged_is_never_kept(place):
    failed = {"stages": (Failed(name="graph", error="out of memory"),)}
    for scan in (Scan("inconclusive"), Scan(**failed)):
        assert not keepable(scan.report)
        assert [ask(scan).run.cache for _ in range(2)] == ["miss", "miss"]
        assert scan.calls == 2
        assert list((place / "kept").iterdir()) == []


def test_an_inconclusive_report_that_somebody_put_there_is_not_used(place):
    opened, key = open_cache("kept"), cache_key.key_of(settings(), True)
    opened.put(key, report("inconclusive"))
    assert ask(Scan()).run.cache == "miss"


@pytest.mark.parametrize("damage", ["half", "empty", "binary", "verdict", "other-key", "list", "nothing-but-a-report"])
def test_an_entry_that_is_not_whole_is_scanned_again_and_replaced(place, damage):
    scan = Scan("backdoor")
    ask(scan)
    (entry,) = (place / "kept").iterdir()
    content = entry.read_bytes()
    value = json.loads(content)
    entry.write_bytes(
        {
            "half": content[: len(content) // 2],
            "empty": b"",
            "binary": b"\xff\x00" * 99,
            "verdict": content.replace(b'"verdict":"backdoor"', b'"verdict":"clean"'),
            "other-key": content.replace(value["key"].encode(), b"0" * 64),
            "list": b"[]",
            "nothing-but-a-report": json.dumps(value["report"]).encode(),
        }[damage]
    )
    assert ask(scan).run.cache == "miss"
    assert ask(scan).run.cache == "hit"


def test_a_report_that_names_files_elsewhere_is_not_used_and_they_are_not_opened(place, monkeypatch):
    elsewhere = FileDigest(path="/etc/hostname", role="sidecar", sha256="0" * 64, bytes=1)
    scan = Scan()
    subject = scan.report.subject.model_copy(update={"files": (*scan.report.subject.files, elsewhere)})
    scan.report = scan.report.model_copy(update={"subject": subject})
    ask(scan)
    opened = []
    monkeypatch.setattr(kept, "file_digest", lambda path: opened.append(str(path)) or cache_key.file_digest(path))
    assert ask(scan).run.cache == "miss"
    assert "/etc/hostname" not in opened


def test_a_model_that_is_a_link_into_a_store_is_kept(place):
    scan = Scan()
    (place / "blobs").mkdir()
    (place / "m.onnx").rename(place / "blobs" / "x")
    (place / "snapshot").mkdir()
    (place / "snapshot" / "m.onnx").symlink_to(place / "blobs" / "x")
    files = [
        file.model_copy(update={"path": "snapshot/m.onnx"}) if file.path == "m.onnx" else file
        for file in scan.report.subject.files
    ]
    subject = scan.report.subject.model_copy(update={"files": tuple(files)})
    scan.report = scan.report.model_copy(update={"subject": subject})
    assert [ask(scan, model="snapshot/m.onnx").run.cache for _ in range(2)] == ["miss", "hit"]


def test_a_model_that_changes_during_its_scan_is_not_kept_under_its_old_name(place):
    class Changing(Scan):
        def __call__(self) -> Report:
            (place / "m.onnx").write_text("swapped")
            return super().__call__()

    ask(Changing())
    assert list((place / "kept").iterdir()) == []


def test_a_folder_that_others_may_write_is_refused(place):
    (place / "kept").mkdir()
    (place / "kept").chmod(0o777)
    with pytest.raises(UsageError, match="others may write there"):
        open_cache("kept")


def test_a_full_disk_costs_the_entry_and_not_the_scan(place, monkeypatch):
    notes: list[str] = []
    opened = open_cache("kept")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bdscan.atomic.write", full)
    answer = cached(opened, settings(), True, Scan(), notes.append)
    assert (answer.verdict, answer.run.cache) == ("clean", "miss")
    assert notes == ["the report of m.onnx was not kept in kept (No space left on device)"]


def test_the_users_folder_follows_the_xdg_rules(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept.user_folder() == tmp_path / "bdscan"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/u")
    assert kept.user_folder() == Path("/home/u/.cache/bdscan")


def test_left_over_temporary_files_go_when_they_are_old(place):
    open_cache("kept")
    old, young = (place / "kept" / f".{name}.json.1.bdscan-tmp" for name in ("old", "young"))
    for path in (old, young):
        path.write_text("x")
    os.utime(old, (0, 0))
    open_cache("kept")
    assert (old.exists(), young.exists()) == (False, True)
