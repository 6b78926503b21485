"""`--cache`: off without it, and the same reports with it."""

from __future__ import annotations

import json


def cache_of(path) -> str:
    return json.loads(path.read_text())["run"]["cache"]


def test_off_unless_asked_for_and_a_flag_turns_it_off_again(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for _ in range(2):
        assert scan("backdoor", "-q", "-o", "r.json").exit_code == 1
        assert cache_of(tmp_path / "r.json") == "off"
    assert not (tmp_path / "xdg").exists()
    monkeypatch.setenv("BDSCAN_CACHE", "user")
    seen = []
    for flags in ([], [], ["--no-cache"]):
        assert scan("backdoor", "-q", "-o", "r.json", *flags).exit_code == 1, "a kept alarm is an alarm"
        seen.append(cache_of(tmp_path / "r.json"))
    assert seen == ["miss", "hit", "off"]
    assert len(list((tmp_path / "xdg" / "bdscan").glob("*.json"))) == 1


def test_waivers_and_outputs_are_not_part_of_what_is_kept(scan, tmp_path):
    scan("clean", "-q", "--cache", "c", "-o", "a.json")
    (tmp_path / "w.toml").write_text(
        f'version = 1\n[[waiver]]\nrule = "A"\nsubject.digest = "{"0" * 64}"\nreason = "r"\nexpires = 2999-01-01\n'
    )
    scan("clean", "-q", "--cache", "c", "-o", "b.json", "--waivers", "w.toml")
    report = json.loads((tmp_path / "b.json").read_text())
    assert len(scan.calls) == 1
    assert (report["run"]["cache"], report["run"]["outputs"]) == ("hit", ["b.json"])
    assert [each["state"] for each in report["waivers"]] == ["unused"]


def test_a_cached_model_that_is_gone_is_still_an_error(scan, tmp_path):
    assert scan("clean", "-q", "--cache", "c").exit_code == 0
    (tmp_path / "samples.npz").unlink()
    result = scan("clean", "-q", "--cache", "c")
    assert result.exit_code == 2
    assert "cannot read 'samples.npz'" in result.stderr


def test_a_cache_that_cannot_be_used_is_one_line(scan, tmp_path):
    (tmp_path / "file").write_text("x")
    result = scan("clean", "--cache", "file")
    assert (result.exit_code, scan.calls) == (2, [])
    assert result.stderr.startswith("bdscan: --cache file: cannot be used (")
