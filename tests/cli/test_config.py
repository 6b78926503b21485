"""Flag before environment before file; unknown keys are errors; a file that was only found may not run code."""

from __future__ import annotations

import inspect
import json
import os
import tomllib
from pathlib import Path

import jsonschema
import pytest

from bdscan.cli.config_keys import Config, kebab, render_schema, schema
from bdscan.cli.scan import scan as scan_command

ROOT = Path(__file__).parents[2]
FLAGS_ONLY = {"context", "models", "format_name", "no_cache", "config", "no_isolation", "debug"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("BDSCAN_")]:
        monkeypatch.delenv(name)


def line(result) -> str:
    (only,) = result.stderr.splitlines()
    return only


def test_a_file_can_set_every_option_but_those_about_trust_and_about_itself():
    assert set(Config.model_fields) | FLAGS_ONLY == set(inspect.signature(scan_command).parameters)
    assert not set(Config.model_fields) & FLAGS_ONLY


def test_defaults_in_the_schema_are_those_of_the_command():
    parameters = inspect.signature(scan_command).parameters
    for name, field in Config.model_fields.items():
        default = parameters[name].default
        assert (field.default or None) == (default or None), name


def test_flag_before_environment_before_file_before_default(scan, tmp_path, monkeypatch):
    def seed(*arguments: str) -> int:
        assert scan("clean", "-q", *arguments).exit_code == 0
        return scan.calls[-1][0].seed

    assert seed() == 0
    (tmp_path / "bdscan.toml").write_text("seed = 1\n")
    assert seed() == 1
    monkeypatch.setenv("BDSCAN_SEED", "2")
    assert seed() == 2
    assert seed("--seed", "3") == 3
    assert seed("--seed", "0") == 0, "a flag counts even where it says the default"
    monkeypatch.setenv("BDSCAN_SEED", "")
    assert seed() == 1, "a variable set to nothing is not set"


@pytest.mark.parametrize("name, head", [("bdscan.toml", ""), ("pyproject.toml", "[tool.bdscan]\n")])
def test_every_kind_of_value_arrives(scan, tmp_path, name, head):
    (tmp_path / "a.toml").write_text("version = 1\n")
    (tmp_path / name).write_text(
        head + 'detectors = ["steps", "graph"]\nbudget = "quick"\nmemory-gb = 2.5\nrules = ["a.toml"]\n'
        'arch = "torchvision:resnet18"\nfail-on = "backdoor"\noutput = ["r.json"]\n'
    )
    result = scan("suspicious")
    assert result.exit_code == 0, result.stderr
    settings = scan.calls[-1][0]
    assert settings.detectors == ("steps", "graph")
    assert (settings.budget, settings.memory_gb, settings.rules) == ("quick", 2.5, ("a.toml",))
    assert settings.arch == "torchvision:resnet18"
    assert json.loads((tmp_path / "r.json").read_text())["run"]["config"] == name
    assert f"bdscan: {name} sets detectors, budget, memory-gb, rules, arch, fail-on, output" in result.stderr


def test_the_environment_has_the_same_keys(scan, monkeypatch):
    for key, value in {
        "DETECTORS": "steps, graph",
        "THREADS": "3",
        "FAIL_ON": "backdoor",
        "OUTPUT": "a.json b.md",
    }.items():
        monkeypatch.setenv(f"BDSCAN_{key}", value)
    assert scan("suspicious", "-q").exit_code == 0
    assert (scan.calls[-1][0].detectors, scan.calls[-1][0].threads) == (("steps", "graph"), 3)
    assert Path("a.json").is_file()
    assert Path("b.md").is_file()


@pytest.mark.parametrize(
    "content, words",
    [
        ('budgt = "quick"', "bdscan.toml: unknown key budgt; did you mean budget?"),
        ("fail_on = 'backdoor'", "unknown key fail_on; did you mean fail-on?"),
        ("zzz = 1", "unknown key zzz; known are samples, "),
        ("no-isolation = true", "unknown key no-isolation"),
        ("debug = true", "unknown key debug"),
        ('budget = "huge"', "bdscan.toml: budget: Input should be 'quick', 'standard' or 'thorough'"),
        ("seed = -1", "seed: Input should be greater than or equal to 0"),
        ("rules = 'a.toml'", "rules: "),
        ("seed = ", "bdscan.toml: not TOML: "),
        ("[tool.bdscan]\nseed = 1", "unknown key tool"),
        ("cache = 'kept'", 'may have come with it, and with forged ones; write cache = "user"'),
        ("arch = 'net.py:make'", "arch names code to run, and this file was found, not given"),
        ("reference-arch = 'net.py:make'", "reference-arch names code to run"),
    ],
)
def test_a_wrong_file_is_one_line_and_nothing_is_scanned(scan, tmp_path, content, words):
    (tmp_path / "bdscan.toml").write_text(content)
    result = scan("clean")
    assert (result.exit_code, result.stdout, scan.calls) == (2, "", [])
    assert words in line(result)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("BDSCAN_FAILON", "backdoor", "BDSCAN_FAILON: unknown variable; did you mean BDSCAN_FAIL_ON?"),
        ("BDSCAN_FAIL_ON", "never", "BDSCAN_FAIL_ON: Input should be 'suspicious' or 'backdoor'"),
        ("BDSCAN_NO_ISOLATION", "1", "BDSCAN_NO_ISOLATION: unknown variable"),
        ("BDSCAN_SEED", "many", "BDSCAN_SEED: Input should be a valid integer"),
        ("BDSCAN_CONFIG", "none.toml", "--config: cannot read 'none.toml' (No such file or directory)"),
    ],
)
def test_a_wrong_variable_is_one_line_and_nothing_is_scanned(scan, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    result = scan("clean")
    assert (result.exit_code, result.stdout, scan.calls) == (2, "", [])
    assert words in line(result)


def test_code_is_only_named_by_a_file_that_was_given(scan, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "net.py").write_text("x = 1\n")
    (tmp_path / "deep" / "ci.toml").write_text("arch = 'net.py:make'\n")
    assert scan("clean", "-q", "--config", "deep/ci.toml").exit_code == 0
    assert scan.calls[-1][0].arch == os.path.join("deep", "net.py:make")


def test_found_up_to_the_root_of_the_repository_and_paths_start_at_the_file(scan, tmp_path, monkeypatch):
    (tmp_path / "bdscan.toml").write_text("seed = 1\n")
    inside = tmp_path / "repository" / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    (inside / "clean").write_bytes(b"m")
    (inside / "samples.npz").write_bytes(b"s")

    def settings():
        from typer.testing import CliRunner

        from bdscan.cli.main import app

        assert CliRunner().invoke(app, ["scan", "clean", "-q"]).exit_code == 0
        return scan.calls[-1][0]

    monkeypatch.setenv("BDSCAN_SAMPLES", "samples.npz")
    assert settings().seed == 0, "without a repository only the working folder counts"
    (tmp_path / "repository" / ".git").mkdir()
    assert settings().seed == 0, "beyond the root of the repository nothing is looked for"
    (tmp_path / "repository" / "pyproject.toml").write_text("[tool.bdscan]\nseed = 4\nsamples = 's.npz'\n")
    (tmp_path / "repository" / "s.npz").write_bytes(b"s")
    assert (settings().seed, settings().samples) == (4, "samples.npz")
    monkeypatch.delenv("BDSCAN_SAMPLES")
    assert settings().samples == os.path.join("..", "..", "s.npz")
    (inside / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings().seed == 4, "a pyproject.toml without our table is passed by"


def test_two_files_side_by_side_are_refused_and_one_can_be_named(scan, tmp_path):
    (tmp_path / "bdscan.toml").write_text("seed = 1\n")
    (tmp_path / "pyproject.toml").write_text("[tool.bdscan]\nseed = 2\n")
    result = scan("clean")
    assert result.exit_code == 2
    assert "keep one of them" in line(result)
    assert scan("clean", "--config", "pyproject.toml").exit_code == 0
    assert scan.calls[-1][0].seed == 2
    assert scan("clean", "--config", os.devnull).exit_code == 0
    assert scan.calls[-1][0].seed == 0


def test_without_samples_the_line_says_what_to_do(files):
    from typer.testing import CliRunner

    from bdscan.cli.main import app

    result = CliRunner().invoke(app, ["scan", files("clean")])
    assert result.exit_code == 2
    assert line(result).startswith("bdscan: --samples is missing")


def test_the_published_schema_is_the_real_one_and_refuses_what_the_command_refuses():
    assert (ROOT / "docs" / "config.schema.json").read_text() == render_schema(), (
        "run python -m bdscan.cli.config_keys > docs/config.schema.json"
    )
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(tomllib.loads('samples = "s"\nfail-on = "backdoor"\nrules = ["a"]\n'))
    for wrong in ({"fail_on": "backdoor"}, {"budget": "huge"}, {"seed": -1}, {"no-isolation": True}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(wrong)
    assert set(schema()["properties"]) == {kebab(name) for name in Config.model_fields}
