"""Tries forbidden deeds, free or confined: `python -m prisoner WALLS FOLDER`, results as JSON.

FOLDER holds `model/`, `samples/`, `private/`, and `outside/` with the file `secret`. Every deed is harmless there.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from bdscan.jail.sandbox import enter
from bdscan.settings import Settings


def deeds(folder: Path) -> dict[str, object]:
    outside, private = folder / "outside", folder / "private"
    secret = outside / "secret"
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: int) -> None:
        if getattr(libc, name)(*(ctypes.c_long(a) for a in arguments)) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def raw(number: int, *arguments: int) -> None:
        call("syscall", number, *arguments)

    return {
        "read": secret.read_bytes,
        "list": lambda: os.listdir(outside),
        "write": lambda: (outside / "written").write_bytes(b"x"),
        "append": lambda: secret.open("ab").write(b""),
        "truncate on reading": lambda: os.close(os.open(folder / "model/model.onnx", os.O_RDONLY | os.O_TRUNC)),
        "truncate": lambda: os.truncate(secret, 1),
        "unlink": lambda: (outside / "old").unlink(),
        "rename": lambda: os.rename(outside / "name", outside / "other"),
        "make a folder": lambda: (outside / "folder").mkdir(),
        "make a link": lambda: os.symlink("/etc", private / "link"),
        "make a hard link": lambda: os.link(secret, private / "hard"),
        "change the mode": lambda: os.chmod(secret, 0o600),
        "change the owner": lambda: os.chown(secret, os.getuid(), os.getgid()),
        "change the time": lambda: os.utime(secret, (1, 1)),
        "write beside the model": lambda: (folder / "model/model.onnx").write_bytes(b"y"),
        "the parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": lambda: os.fork() or os._exit(0),
        "tcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix socket": lambda: socket.socketpair(),
        "signal the parent": lambda: os.kill(os.getppid(), 0),
        "limits of the parent": lambda: raw(PRLIMIT, os.getppid(), 0, 0, 0),
        "memory outside the limits": lambda: os.close(os.memfd_create("x")),
        "trace": lambda: call("ptrace", 16, -1, 0, 0),
        "handle of a process": lambda: os.close(os.pidfd_open(os.getpid())),
    }


PRLIMIT = {"x86_64": 302, "aarch64": 261}.get(os.uname().machine, -1)


def allowed(folder: Path) -> dict[str, object]:
    private = folder / "private"

    def in_a_thread() -> None:
        thread = threading.Thread(target=lambda: (private / "from-thread").write_bytes(b"x"))
        thread.start()
        thread.join()
        (private / "from-thread").read_bytes()

    return {
        "read the model": (folder / "model/model.onnx").read_bytes,
        "read beside an ONNX file": (folder / "model/beside").read_bytes,
        "read a sample": (folder / "samples" / "cat" / "1.png").read_bytes,
        "read a linked image": (folder / "samples" / "cat" / "linked.png").read_bytes,
        "write in private": lambda: (private / "file").write_bytes(b"x"),
        "make a folder in private": lambda: (private / "folder").mkdir(),
        "remove in private": lambda: (private / "file").unlink(),
        "a thread": in_a_thread,
        "an import": lambda: __import__("sqlite3"),
        "the processor": Path("/proc/cpuinfo").read_bytes,
        "own maps": Path("/proc/self/maps").read_bytes,
    }


def attempt(deed: object) -> str:
    try:
        deed()  # type: ignore[operator]
    except OSError as error:
        return error.strerror or "OSError"
    return "done"


def main() -> None:
    walls, folder = sys.argv[1], Path(sys.argv[2])
    settings = Settings(model=str(folder / "model/model.onnx"), samples=str(folder / "samples"), device="cpu")
    level = "free"
    if walls == "confined":
        level = enter(settings, str(folder / "private")).level
    harmless = {name: attempt(deed) for name, deed in allowed(folder).items()}
    forbidden = {name: attempt(deed) for name, deed in deeds(folder).items()}
    results: dict[str, str] = {}
    if walls == "confined":  # a thread that starts later is confined as well
        thread = threading.Thread(target=lambda: results.update({n: attempt(d) for n, d in deeds(folder).items()}))
        thread.start()
        thread.join()
    print(json.dumps({"level": level, "allowed": harmless, "forbidden": forbidden, "in a thread": results}))


if __name__ == "__main__":
    main()
