"""`bdscan verify` on a real report of the smallest fixture, and on what somebody made of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bdscan.cli.main import app

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL, SAMPLES = "clean-1.onnx", "samples.npz"


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def scanned(tmp_path_factory) -> Path:
    """The cheapest real scan: an ONNX file with a sidecar, one detector."""
    folder = tmp_path_factory.mktemp("scanned")
    for name in (MODEL, f"{MODEL}.data", SAMPLES):
        shutil.copy(FIXTURES / name, folder / name)
    words = ["--samples", str(folder / SAMPLES), "--detectors", "graph", "--no-isolation", "-q"]
    assert run("scan", str(folder / MODEL), *words, "-o", str(folder / "r.json")).exit_code == 3
    return folder


@pytest.fixture
def place(scanned, tmp_path, monkeypatch):
    shutil.copytree(scanned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outcomes(result) -> dict[str, str]:
    found = {}
    for line in result.stdout.split("\n\n")[0].splitlines():
        for word in ("matches", "differs", "not checked"):
            if line[13:].startswith(word):
                found[line[:12].strip()] = word
    return found


def test_the_files_of_a_scan_match_wherever_they_lie_and_the_report_is_called_unsigned(place):
    (place / "moved").mkdir()
    for name in (MODEL, f"{MODEL}.data"):
        (place / name).rename(place / "moved" / name)
    result = run("verify", "r.json", f"moved/{MODEL}", "--samples", SAMPLES)
    assert result.exit_code == 0, result.stdout
    parts = ("model", "sidecar", "subject", "samples", "rules", "calibration", "version", "verdict")
    assert outcomes(result) == dict.fromkeys(parts, "matches")
    assert "This report is unsigned: anyone can write one." in result.stdout
    assert "inconclusive" in result.stdout


def test_a_path_with_braces_is_only_a_path(place):
    (place / MODEL).rename(place / "m{a}.onnx")
    (place / "m{a}.onnx").write_bytes(b"another model")
    result = run("verify", "r.json", "m{a}.onnx")
    assert result.exit_code == 1, result.stderr
    assert "m{a}.onnx: the report has" in " ".join(result.stdout.split())


def test_what_is_not_given_is_said_to_be_unchecked(place):
    result = run("verify", "r.json", MODEL)
    assert (result.exit_code, outcomes(result)["samples"]) == (0, "not checked")


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}.data"])
def test_another_model_or_sidecar_differs(place, name):
    with (place / name).open("ab") as file:
        file.write(b"x")
    result = run("verify", "r.json", MODEL)
    assert result.exit_code == 1
    assert outcomes(result)["subject"] == "differs"
    (place / f"{MODEL}.data").unlink()
    assert outcomes(run("verify", "r.json", MODEL))["sidecar"] == "differs"


def edited(place: Path, change) -> str:
    value = json.loads((place / "r.json").read_text())
    change(value)
    (place / "e.json").write_text(json.dumps(value))
    return "e.json"


@pytest.mark.parametrize(
    "part, change",
    [
        ("verdict", lambda r: r.update(verdict="clean")),
        ("version", lambda r: r["tool"].update(version="9.9")),
        ("rules", lambda r: r["rules"].update(sha256="0" * 64)),
        ("calibration", lambda r: r["calibration"].update(sha256="0" * 64)),
        ("samples", lambda r: r["samples"].update(digest="0" * 64)),
        ("samples", lambda r: r["settings"].pop("seed")),
        ("subject", lambda r: r["subject"].update(digest="0" * 64)),
        ("model", lambda r: r["subject"].update(files=[])),
        ("sidecar", lambda r: r["subject"]["files"][1].update(path="../../../../../../etc/hostname")),
    ],
)
def test_an_edited_report_differs_in_what_was_edited(place, part, change):
    result = run("verify", edited(place, change), MODEL, "--samples", SAMPLES)
    assert result.exit_code == 1, result.stdout
    assert outcomes(result)[part] == "differs"
    assert "unsigned" in result.stdout


def test_other_samples_and_other_rules_differ(place):
    import numpy as np

    with np.load(place / SAMPLES) as arrays:
        values = dict(arrays)
    values["x"] = 255 - values["x"]
    np.savez(place / "other.npz", **values)
    (place / "own.toml").write_text("version = 1\nrule = []\n")
    result = run("verify", "r.json", MODEL, "--samples", "other.npz", "--rules", "own.toml")
    assert result.exit_code == 1
    assert (outcomes(result)["samples"], outcomes(result)["rules"]) == ("differs", "differs")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["none.json", MODEL], "cannot read 'none.json'"),
        ([MODEL, MODEL], "is no bdscan report"),
        (["r.json", "none.onnx"], "none.onnx: no such file"),
        (["r.json", MODEL, "--samples", "none.npz"], "none.npz: no such file"),
        (["r.json", MODEL, "--rules", "none.toml"], "--rules: cannot read 'none.toml'"),
        (["r.json", MODEL, "--arch", "none.py:make"], "none.py: no such file"),
    ],
)
def test_what_cannot_be_read_is_one_line(place, arguments, words):
    result = run("verify", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
