"""A worker that was taken over or broke: it speaks on the channel as it likes, without bdscan's own code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STEP = '{"stage": "%s", "share": 0.5}'


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


def main() -> None:
    channel = int(sys.argv[1])
    act = json.loads(sys.stdin.buffer.readline())["model"]
    print("\x1b[31mlast words\x1b[0m", file=sys.stderr, flush=True)
    if act in {"SIGSEGV", "SIGKILL", "SIGXCPU"}:
        os.kill(os.getpid(), getattr(signal, act))
    if act == "exit":
        os._exit(7)
    if act == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        os.write(channel, frame(b"S", (STEP % f"{os.getpid()} {child.pid}").encode()))
    if act == "litter":
        for number in range(200):
            (Path(os.environ["TMPDIR"]) / str(number)).touch()
    if act == "flood":
        os.write(channel, b"S\xff\xff\xff\xff")
    if act == "lie":
        os.write(channel, frame(b"R", b"{}"))
    if act == "names":
        os.write(channel, frame(b"S", rb'{"stage": "\u001b[2J\u202e<b>[red]evil[/red]\n", "share": 0.5}'))
        os.write(channel, frame(b"F", rb'{"code": "usage", "message": "one\ntwo \u001b[2J\u202etxt.exe"}'))
    time.sleep(600)


main()
