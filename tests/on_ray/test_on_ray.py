"""A real Ray with two workers on this machine: the same reports, and what happens when its workers die."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest
import ray_jobs
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.jail.parent import Stopped, WorkerFailed
from bdscan.on_ray import engine
from bdscan.report import Report

pytestmark = pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed: pip install 'bdscan[ray]'")

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / "scanner"), str(ROOT / "tests" / "jail"), str(ROOT / "tests" / "on_ray")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two CPUs; its workers find our jobs. What it prints or leaves is Ray's affair but for what is asserted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(PATHS))
        patch.chdir(tmp_path_factory.mktemp("hostile"))
        with engine.connected(None, 2):
            yield


@pytest.fixture
def on_ray(cluster, monkeypatch):
    """`bdscan scan` on the Ray that runs already: its outcome, and each report without `run`."""
    monkeypatch.setattr("bdscan.cli.scan._ray", lambda address, cpus: nullcontext())
    return scanned


def scanned(folder: Path, *words: str):
    folder.mkdir()
    result = CliRunner().invoke(app, ["scan", *words, "-o", f"{folder}/{{name}}.json"])
    found = {}
    for path in folder.glob("*.json"):
        found[path.stem] = json.loads(path.read_text())
        Report.model_validate(found[path.stem])
        del found[path.stem]["run"]
    return result, found


def call(job, order: bytes, stop: threading.Event | None = None, said: list[str] | None = None, cpus: int = 1):
    heard = [] if said is None else said
    return engine.call(job, order, cpus=cpus, gpus=0, stop=stop or threading.Event(), say=heard.append)


def command_of(pid: int) -> str:
    """Empty for one that has ended, collected or not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parents() -> dict[int, int]:
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            found[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def below(pid: int) -> set[int]:
    """The process and its descendants."""
    known, family = parents(), {pid}
    while more := {child for child, parent in known.items() if parent in family} - family:
        family |= more
    return family


def count_of(word: str, pids: set[int]) -> int:
    return sum(word in command_of(pid) for pid in pids)


def scanning() -> set[int]:
    """Our Ray workers that run a jailed worker now."""
    known = parents()
    jails = {pid for pid in below(os.getpid()) if "bdscan.jail.worker" in command_of(pid)}
    return {known[pid] for pid in jails if command_of(known.get(pid, 0)).startswith("ray::answered")}


@contextmanager
def one_killed_in_mid_scan():
    """Kills the first Ray worker whose scan has been seen to run; the list names it."""
    killed, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for pid in sorted(scanning()):
                time.sleep(0.3)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_a_ray_worker_killed_in_mid_scan_is_replaced_and_the_reports_are_the_same(on_ray, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["fixtures/clean-1.onnx", "fixtures/trigger-branch.onnx", "--samples", "fixtures/samples.npz"]
    words += ["--detectors", "graph,last_layer", "--threads", "1", "--device", "cpu", "--jobs", "2"]
    here, expected = scanned(tmp_path / "here", *words)
    with one_killed_in_mid_scan() as killed:
        there, found = on_ray(tmp_path / "there", *words, "--executor", "ray")
    assert len(killed) == 1
    assert there.stderr.count("a Ray worker died (WorkerCrashedError); its job runs once more") == 1
    assert (there.exit_code, here.exit_code) == (1, 1)
    assert set(found) == {"clean-1.onnx", "trigger-branch.onnx"}
    assert found == expected


def test_dying_twice_is_no_pass_and_the_other_model_is_scanned(on_ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clean", "deadly", "samples.npz"):
        Path(name).write_bytes(b"x")
    monkeypatch.setattr("bdscan.on_ray.job.answered", ray_jobs.quick_or_deadly)
    words = ["--samples", "samples.npz", "--executor", "ray", "--threads", "1"]
    result, found = on_ray(tmp_path / "r", "clean", "deadly", *words, "--jobs", "2", "--summary", "all.json")
    assert result.exit_code == 3
    assert {name: report["verdict"] for name, report in found.items()} == {"clean": "clean"}
    rows = {row["model"]: row for row in json.loads(Path("all.json").read_text())["models"]}
    assert (rows["deadly"]["exit_code"], rows["deadly"]["verdict"]) == (3, "")
    assert "died 2 times, so nothing is judged" in rows["deadly"]["reason"]
    assert Path("deaths").read_text() == "xx"
    result, found = on_ray(tmp_path / "alone", "deadly", *words, "-q")
    assert (result.exit_code, found, result.stdout) == (3, {}, "")
    assert result.stderr.startswith("bdscan: the Ray worker died 2 times")
    assert len(result.stderr.splitlines()) == 1


def test_errors_on_the_node_are_those_of_a_scan_here(on_ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("samples.npz").write_bytes(b"x")
    result, _ = on_ray(tmp_path / "r", "none.onnx", "--samples", "samples.npz", "--executor", "ray", "--threads", "1")
    assert result.exit_code == 2
    assert "bdscan: model: cannot read 'none.onnx' (No such file or directory); check the path\n" in result.stderr
    with pytest.raises(WorkerFailed, match=r"the job failed on its Ray node \(KeyError: 'boom'\)"):
        call(ray_jobs.raises, b"")


def test_a_stop_interrupts_the_job_and_no_other_begins(cluster, tmp_path):
    place, stop = tmp_path / "job", threading.Event()

    def watch() -> None:
        while not place.exists():
            time.sleep(0.02)
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(Stopped):
        call(ray_jobs.sleeps, str(place).encode(), stop)
    watcher.join()
    assert place.read_bytes() == b"interrupted"
    place.unlink()
    with pytest.raises(Stopped):
        call(ray_jobs.sleeps, str(place).encode(), stop)
    assert not place.exists()


def listening() -> set[str]:
    """The addresses on which this process and all below it listen: IPv4, also where it is written as IPv6."""
    sockets = set()
    for pid in below(os.getpid()):
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(os.readlink(handle))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                *high, low = (
                    bytes.fromhex(words[1].partition(":")[0][at : at + 8])[::-1]
                    for at in range(0, 32 if table == "tcp6" else 8, 8)
                )
                mapped = high in ([], [bytes(4), bytes(4), b"\0\0\xff\xff"])
                found.add(".".join(map(str, low)) if mapped else words[1])
    return found


def test_ray_listens_on_loopback_only_and_imports_nothing_from_where_the_command_ran(cluster):
    import ray

    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}
    assert listening() == {"127.0.0.1"}
    folder, path = ast.literal_eval(call(ray_jobs.surroundings, b"").decode())
    assert os.getcwd() not in path
    assert os.getcwd() != folder
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_scan_that_no_node_is_large_enough_for_is_refused(cluster):
    from bdscan.errors import UsageError

    with pytest.raises(UsageError, match="no node of the cluster has 3 CPUs; lower --threads"):
        call(ray_jobs.surroundings, b"", cpus=3)


@pytest.mark.slow
def test_a_plan_trains_the_same_models_on_ray(cluster, tmp_path, monkeypatch):
    import ray_plans
    import torch

    from bdscan.zoo import plan, plan_on_ray
    from bdscan.zoo.train import WEIGHTS

    monkeypatch.setattr(plan, "PLANS", {"small": ray_plans.small})
    monkeypatch.setattr(plan_on_ray, "trained", ray_plans.trained)
    monkeypatch.setattr(plan_on_ray, "connected", lambda address, cpus: nullcontext())
    monkeypatch.chdir(tmp_path)

    def on_ray() -> list[str]:
        said: list[str] = []
        options = {"address": None, "jobs": 2, "threads": 1, "only": "", "note": said.append}
        folders = plan_on_ray.run_plan_on_ray("small", Path("there"), None, **options)
        assert folders == [Path("there/digits-clean"), Path("there/digits-bad")]
        return sorted(line.partition(": ")[2][:17] for line in said)

    plan.run_plan("small", Path("here"), None)
    assert on_ray() == ['{"clean_accuracy"'] * 2
    assert on_ray() == ["there already"] * 2
    for name in ("digits-clean", "digits-bad"):
        (here, there) = (torch.load(Path(place, name, WEIGHTS), weights_only=True) for place in ("here", "there"))
        assert all(torch.equal(here[key], there[key]) for key in here)


def test_ctrl_c_ends_ray_and_all_its_workers_and_leaves_nothing(tmp_path):
    """As a terminal sends it: to the whole process group."""
    for name in ("hang", "deep/hang", "clean"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"m")
    before = set(Path(tempfile.gettempdir()).glob("bdscan-*/session_*"))
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import ray_jobs, bdscan.on_ray.job as job; job.answered = ray_jobs.quick_or_deadly\n"
        "from bdscan.cli.main import main; main()"
    )
    words = [
        "hang",
        "deep/hang",
        "clean",
        "--samples",
        "clean",
        "--executor",
        "ray",
        "--jobs",
        "2",
        "--threads",
        "1",
        "-q",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", script, "scan", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(PATHS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 60
        while count_of("quick_worker", below(process.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        family = below(process.pid)
        assert count_of("quick_worker", family) == 2
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (130, "", "bdscan: interrupted\n")
    end = time.monotonic() + 10
    while (left := {pid for pid in family if command_of(pid)}) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == set()
    assert set(Path(tempfile.gettempdir()).glob("bdscan-*/session_*")) <= before
