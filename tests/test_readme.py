from __future__ import annotations

import re
from pathlib import Path

import readme_help

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_help_in_the_readme_is_the_real_one():
    assert readme_help.BEGIN in README
    assert readme_help.END in README
    assert readme_help.with_help(README) == README, "run `make readme`"


def test_what_the_readme_tells_to_make_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", README))
    assert {"demo", "test"} <= named <= targets


def test_the_demo_scans_a_backdoored_and_a_clean_fixture():
    """By the fixtures' own truth, and each with the architecture it needs."""
    import json

    truth = {model["file"]: model for model in json.loads((ROOT / "fixtures" / "truth.json").read_text())}
    recipe = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    scanned = re.findall(r"scan fixtures/(\S+)(?: --arch (\S+))?", recipe)
    assert [truth[file]["truth"] for file, _ in scanned] == ["backdoored", "clean"]
    for file, arch in scanned:
        needed = None if truth[file]["format"].startswith(("onnx", "torchscript")) else truth[file]["arch"]
        assert (arch or None) == needed
