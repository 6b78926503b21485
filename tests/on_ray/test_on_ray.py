"""A real Ray with two workers on this machine: the same reports, and what happens when its workers die."""

from __future__ import annotations

import ast
import json
import os
import signal
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


def parents_of_jails() -> set[int]:
    """The Ray workers of this machine that run a jailed worker now."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"bdscan.jail.worker" not in (place / "cmdline").read_bytes():
                continue
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"ray::answered"):
                found.add(parent)
        except (OSError, ValueError):
            continue
    return found


@contextmanager
def one_killed_in_mid_scan():
    """Kills the first Ray worker whose scan has been seen to run; the list names it."""
    killed, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for pid in sorted(parents_of_jails()):
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


def test_a_stop_interrupts_the_job_and_begins_no_other(cluster, tmp_path):
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
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    ours, sockets = {os.getpid()}, set()
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    for pid in ours:
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
