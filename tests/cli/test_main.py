"""The command as a process: start-up time, what is imported, signals."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bdscan import __version__

JAIL_TESTS = Path(__file__).parent.parent / "jail"
CODE = "from bdscan.cli.main import main; main()"
# A shell that starts us in the background ignores SIGINT for us; a user's terminal does not.
HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
FAKE = f"{HEARING}; import bdscan.jail.parent as p; p.WORKER = 'fake_worker'; {CODE}"


def bdscan(*arguments: str, code: str = CODE, **options):
    environment = os.environ | {"PYTHONPATH": str(JAIL_TESTS), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, **options
    )


def test_version_and_help():
    assert bdscan("--version").stdout == f"bdscan {__version__}\n"
    shown = bdscan("--help").stdout
    for command in ("scan", "render", "verify", "detectors", "limits"):
        assert f"\n  {command} " in shown
    assert "bdscan scan model.onnx --samples" in bdscan("scan", "--help").stdout
    assert bdscan().returncode == 2


@pytest.mark.parametrize("arguments", [["--help"], ["scan", "--help"], ["limits"]])
def test_help_is_quick_and_loads_nothing_heavy(arguments):
    code = (
        "import sys\nfrom bdscan.cli.main import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'bdscan.report', 'jinja2', 'PIL'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    assert bdscan(code=code).stderr == "[]\n"
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        bdscan(*arguments)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.5


def test_an_unusable_file_is_refused_without_starting_a_worker(tmp_path):
    began = time.perf_counter()
    result = bdscan("scan", "none.onnx", "--samples", ".", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == ("bdscan: model: cannot read 'none.onnx' (No such file or directory); check the path\n")
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("words", [["clean", "-o", "-"], ["clean", "-q"], ["clean", "other", "-q"]])
def test_a_reader_that_leaves_early_is_no_alarm(tmp_path, words):
    """python's own exit code for a broken pipe is 1, which would mean a backdoor."""
    for name in ("clean", "other"):
        (tmp_path / name).write_bytes(b"x")
    code = "import fake_report, bdscan.api as api; api.run = lambda s, **_: fake_report.make(s)\n" + CODE
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        result = subprocess.run(
            [sys.executable, "-c", code, "scan", *words, "--samples", "."],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(JAIL_TESTS)},
        )
    assert result.returncode == 2
    assert result.stderr.splitlines() == ["bdscan: the output was closed before it was complete"]


def test_a_terminal_without_our_characters_changes_no_exit_code(tmp_path):
    (tmp_path / "clean").write_bytes(b"x")
    code = "import fake_report, bdscan.api as api; api.run = lambda s, **_: fake_report.make(s)\n" + CODE
    variables = {"PYTHONPATH": str(JAIL_TESTS), "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-c", code, "scan", "clean", "--samples", "."]
    result = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=os.environ | variables)
    assert result.returncode == 0, result.stderr
    assert "\\u2713" in result.stdout


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_worker_and_leaves_nothing(tmp_path, number, code):
    (tmp_path / "spin").write_bytes(b"x")
    private = tmp_path / "temporary"
    private.mkdir()
    environment = os.environ | {"PYTHONPATH": str(JAIL_TESTS), "TMPDIR": str(private)}
    command = [sys.executable, "-c", FAKE, "scan", "spin", "--samples", ".", "-o", "a.json"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 20
        while not (pids := children.read_text().split()) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        stderr = process.communicate(timeout=10)[1]
    assert process.returncode == code
    assert stderr == ("bdscan: interrupted\n" if number == signal.SIGINT else "")
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists()
    assert list(private.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spin", "temporary"]


@pytest.mark.parametrize(
    "words, line",
    [
        (["frob"], "No such command 'frob'; see bdscan --help"),
        (["scan"], "Missing argument 'MODEL'; see bdscan scan --help"),
        (["scan", "m", "--nope\x1b[2J"], "No such option: --nope\\x1b[2J; see bdscan scan --help"),
        (["scan", "m", "--budget", "x"], "Invalid value for '--budget': 'x' is not one of 'quick'"),
    ],
)
def test_what_the_parser_refuses_is_one_line(words, line):
    result = bdscan(*words)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"bdscan: {line}")


@pytest.mark.parametrize("variables, colour", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_bars_on_a_terminal_and_no_colour_where_none_is_wanted(tmp_path, variables, colour):
    code = (
        "from bdscan.cli import progress\n"
        "with progress.shown(False, ['m']) as shown:\n"
        "    step = shown.watch(0); [step(s, x / 4) for s in ('load', 'sear[red]ch') for x in range(5)]"
    )
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
    process = subprocess.run(
        [sys.executable, "-c", code],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "100"} | variables,
        check=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # how a terminal says that its other side is closed
    os.close(ours)
    assert process.stdout == b""
    assert b"sear[red]ch" in shown
    assert (b"\x1b[3" in shown or b"\x1b[1;3" in shown) == colour
    assert (b"100 %" in shown) == (variables.get("TERM") != "dumb")
