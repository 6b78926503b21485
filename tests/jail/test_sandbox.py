"""The walls themselves: what the prisoner can do freely fails confined, and what a scan needs still works."""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdscan.jail import bpf, landlock, sandbox, seccomp
from bdscan.jail.bpf import Call, Check
from bdscan.jail.places import linked_images, may_have_sidecars, places
from bdscan.jail.scratch import overfull
from bdscan.jail.syscalls import ARCHITECTURES
from bdscan.settings import Settings

HERE = Path(__file__).parent
needs_walls = pytest.mark.skipif(
    landlock.abi() == 0 or platform.machine() not in ARCHITECTURES, reason="no Landlock or no filter on this system"
)


def prisoner(walls: str, folder: Path) -> dict:
    for part in ("outside", "private", "model", "samples/cat"):
        (folder / part).mkdir(parents=True)
    for name in (
        "outside/secret",
        "outside/old",
        "outside/name",
        "outside/one.png",
        "model/model.onnx",
        "model/beside",
    ):
        (folder / name).write_bytes(b"some bytes")
    (folder / "samples/cat/1.png").write_bytes(b"pixels")
    (folder / "samples/cat/linked.png").symlink_to(folder / "outside/one.png")
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, "-P", "-m", "prisoner", walls, str(folder)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_walls
def test_nothing_outside_can_be_read_changed_run_reached_or_signalled(tmp_path):
    before = {"outside/secret": b"some bytes", "outside/old": b"some bytes", "model/model.onnx": b"some bytes"}
    result = prisoner("confined", tmp_path)
    assert result["level"] == "sandbox"
    assert {name for name, said in result["allowed"].items() if said != "done"} == set()
    assert {name for name, said in result["forbidden"].items() if said == "done"} == set()
    assert result["in a thread"].keys() == result["forbidden"].keys()
    assert "done" not in result["in a thread"].values()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert sorted(os.listdir(tmp_path / "outside")) == ["name", "old", "one.png", "secret"]
    assert sorted(os.listdir(tmp_path / "private")) == ["folder", "from-thread"]


def test_the_same_deeds_succeed_without_the_walls(tmp_path):
    """Else the test above would prove nothing. What a container forbids everybody is left out."""
    result = prisoner("free", tmp_path)
    assert set(result["allowed"].values()) == {"done"}
    failed = {name for name, said in result["forbidden"].items() if said != "done"}
    assert failed <= {"trace", "handle of a process", "memory outside the limits", "the parent's environment"}
    assert (tmp_path / "outside/written").exists()
    assert (tmp_path / "model/model.onnx").read_bytes() == b"y"


def test_what_a_system_lacks_is_said_and_never_raises(monkeypatch, tmp_path):
    settings = Settings(model="m", samples="s", device="cpu")
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setattr(sandbox, "filter_calls", lambda gpu: "no table for riscv64")
    walls = sandbox.enter(settings, str(tmp_path))
    assert (walls.level, walls.limits) == ("process limits", ())
    assert walls.missing == (
        "file system sandbox (this kernel has no Landlock, or it is switched off)",
        "system call filter (no table for riscv64)",
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    walls = sandbox.enter(settings, str(tmp_path))
    assert walls.level == "process limits"
    assert [line.partition(" (")[0] for line in walls.missing] == ["file system sandbox", "system call filter"]


def test_threads_that_ran_before_lower_the_level(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "_confine_files", lambda *_: (7, ""))
    monkeypatch.setattr(sandbox, "filter_calls", lambda gpu: None)
    settings = Settings(model="m", samples="s", device="cpu")
    monkeypatch.setattr(sandbox, "_threads", lambda: 1)
    assert sandbox.enter(settings, str(tmp_path)).level == "sandbox"
    monkeypatch.setattr(sandbox, "_threads", lambda: 2)
    walls = sandbox.enter(settings, str(tmp_path))
    assert walls.level == "process limits"
    assert walls.missing == ("file system sandbox for threads that ran before it",)


def test_an_unknown_architecture_gets_no_filter(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.filter_calls(gpu=False) == ("no table for riscv64" if sys.platform == "linux" else "none for Darwin")


# --- the filter as data ----------------------------------------------------------------------------------------------


def verdict(code: bytes, number: int, arguments: tuple[int, ...] = (), architecture: int = 1) -> int:
    """What the program answers: a small machine for the four instructions it uses."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    at, value = 0, 0
    while True:
        operation, true, false, constant = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if operation == bpf.LOAD:
            (value,) = struct.unpack_from("=I", data, constant)
        elif operation == bpf.AND:
            value &= constant
        elif operation == bpf.JUMP_EQUAL:
            at += true if value == constant else false
        else:
            return constant


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans()), max_size=4
    ),
)
def test_a_program_allows_exactly_what_its_checks_allow(first, second, checks):
    call = Call("here", tuple(Check(*check) for check in checks))
    code = bpf.program([Call("other"), call, Call("missing")], {"here": 7, "other": 9}, 1)
    holds = all(((first, second)[a] & m == v & m) is equal for a, v, m, equal in checks)
    assert verdict(code, 7, (first, second)) == (bpf.ALLOW if holds else bpf.REFUSE)
    assert verdict(code, 9, (first, second)) == bpf.ALLOW
    assert verdict(code, 8, (first, second)) == bpf.REFUSE
    assert verdict(code, 9, architecture=2) == bpf.KILL_PROCESS


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("gpu", [False, True])
def test_the_filter_of_every_architecture(machine, gpu):
    architecture, numbers = ARCHITECTURES[machine]
    code = bpf.program(seccomp.allowed_calls(gpu), numbers, architecture)

    def allows(name: str, *arguments: int) -> bool:
        return verdict(code, numbers[name], arguments, architecture) == bpf.ALLOW

    thread = 0x3D0F00  # the flags that glibc gives a new thread
    assert allows("clone", thread)
    assert not allows("clone", 17)  # fork
    assert not allows("clone", thread | 0x10000000)
    assert allows("openat", 0, 0, os.O_WRONLY | os.O_TRUNC)
    assert allows("openat", 0, 0, os.O_RDONLY)
    assert not allows("openat", 0, 0, os.O_RDONLY | os.O_TRUNC)
    assert allows("tgkill", os.getpid())
    assert not allows("tgkill", os.getppid())
    assert allows("prlimit64", 0)
    assert not allows("prlimit64", os.getppid())
    assert allows("ioctl", 1, 0x5401)
    assert not allows("ioctl", 1, 0x5412)
    assert allows("ioctl", 1, 0xC020462A) is gpu  # a driver's
    assert allows("socket", 1) is gpu
    assert not allows("socket", 2)
    forbidden = {  # execve kill connect ptrace mount umount2 unshare setns bpf keyctl process_vm_readv execveat
        "x86_64": (59, 62, 42, 101, 165, 166, 272, 308, 321, 250, 310, 322),
        "aarch64": (221, 129, 203, 117, 40, 39, 97, 268, 280, 219, 270, 281),
    }[machine]
    everywhere = (424, 425, 426, 428, 429, 430, 434, 435, 438)  # pidfd, io_uring, the new mounts, clone3
    for number in (*forbidden, *everywhere, 2**30 + 1, 10_000):
        assert verdict(code, number, (), architecture) == bpf.REFUSE, number


def test_every_name_of_the_filter_is_in_a_table():
    known = {name for _, numbers in ARCHITECTURES.values() for name in numbers}
    assert {call.name for call in seccomp.allowed_calls(gpu=True)} <= known


# --- the places ------------------------------------------------------------------------------------------------------


def test_only_what_the_user_named_is_readable(tmp_path):
    for name in ("a.onnx", "b.pt", "c.safetensors", "d.pkl", "net.py", "labels.txt", "x.npz"):
        (tmp_path / name).write_bytes(b"\x08\x07\x12\x03abcdef")
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "c.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{}")
    (tmp_path / "d.pkl").write_bytes(b"\x80\x02")
    assert [may_have_sidecars(str(tmp_path / name)) for name in ("a.onnx", "b.pt", "c.safetensors", "d.pkl")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert not may_have_sidecars(str(tmp_path / "absent"))
    os.mkfifo(tmp_path / "pipe")
    assert not may_have_sidecars(str(tmp_path / "pipe"))

    def read(model: str, **more: str) -> set[str]:
        settings = Settings(model=str(tmp_path / model), samples=str(tmp_path / "x.npz"), device="cpu", **more)
        return {path for path in places(settings, "/private", gpu=False).read if path.startswith(str(tmp_path))}

    files = {name: str(tmp_path / name) for name in os.listdir(tmp_path)}
    assert read("b.pt") == {files["b.pt"], files["x.npz"]}
    assert read("a.onnx") == {files["a.onnx"], files["x.npz"], str(tmp_path)}
    assert read("b.pt", arch=f"{files['net.py']}:make") == {files["b.pt"], files["x.npz"], str(tmp_path)}
    assert read("b.pt", arch="torchvision:vgg11", labels=files["labels.txt"]) == {
        files["b.pt"], files["x.npz"], files["labels.txt"],
    }  # fmt: skip
    assert places(Settings(model="m", samples="s"), "/private", gpu=False).write == ("/private",)


def test_links_among_samples_count_only_where_they_lead_to_images(tmp_path):
    (tmp_path / "key").write_bytes(b"secret")
    (tmp_path / "photo.JPG").write_bytes(b"pixels")
    folder = tmp_path / "samples" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.png").symlink_to(tmp_path / "photo.JPG")
    (folder / "2.png").symlink_to(tmp_path / "key")
    (folder / "3.png").symlink_to(folder / "3.png")
    (folder / "again").symlink_to(tmp_path)
    (folder / "4.png").symlink_to(tmp_path / "absent.png")
    assert list(linked_images(str(tmp_path / "samples"))) == [str(tmp_path / "photo.JPG")]


def test_a_folder_that_grows_is_noticed_without_following_links(tmp_path):
    (tmp_path / "link").symlink_to("/usr")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert not overfull(str(tmp_path), 2**30)
    assert overfull(str(tmp_path), 50_000)
