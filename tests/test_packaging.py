"""The wheel as users get it: what is in it, and that it works without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as `pip install .` builds it, with the backend that is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_one_package_with_all_rules_and_templates(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert {name.split("/")[0] for name in names} == {"bdscan"}
    for source, place in (("rules", "rules"), ("reports/templates", "templates")):
        files = {path.relative_to(ROOT / source).as_posix() for path in (ROOT / source).rglob("*") if path.is_file()}
        assert {f"bdscan/{place}/{name}" for name in files} <= names
    sources = (ROOT / "scanner" / "bdscan").rglob("*.py")
    assert {f"bdscan/{path.relative_to(ROOT / 'scanner/bdscan').as_posix()}" for path in sources} <= names
    assert "bdscan/py.typed" in names
    assert not [name for name in names if name.endswith((".pyc", ".npz", ".pt", ".onnx"))]


def test_the_installed_wheel_works_without_the_checkout(wheel, tmp_path):
    """Its own environment, with the packages that bdscan needs lent by this one."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (packages / "lent.pth").write_text(f"{Path(pytest.__file__).parent.parent}\n")

    def run(*arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "COLUMNS": "80"}
        done = subprocess.run([*arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    for name in ("templates", "rules") if any((ROOT / "rules").iterdir()) else ("templates",):
        place = run(str(python), "-c", f"from bdscan.resources import resource; print(resource('{name}'))").strip()
        assert place == str(packages / "bdscan" / name)
    command = str(python.with_name("bdscan"))
    assert run(command, "--version").split() == [
        "bdscan",
        run(str(python), "-c", "import bdscan; print(bdscan.__version__)").strip(),
    ]
    assert "Usage: bdscan" in run(command, "--help")
    if (ROOT / "scanner" / "bdscan" / "detectors" / "registry.py").exists():
        assert "misses:" in run(command, "detectors")


def test_constraints_pin_every_direct_dependency_and_name_no_place():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line) for line in lines), "a version each, no URL, no path"
    pinned = {line.partition("==")[0] for line in lines}
    direct = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert {re.split(r"[<>=!~ \[]", name)[0].lower() for name in direct} <= pinned
