"""Ray as the engine that runs a function of ours in another process, on this machine or on another one.

What travels is small: bytes in, bytes out. Files are read by the node that runs the job, by path. A process or a node
that dies in mid-job is replaced once; a second death is an error, never an answer.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from bdscan.errors import UsageError
from bdscan.jail.parent import Stopped, WorkerFailed, one_line
from bdscan.jail.scratch import RAY, private_folder

LOOPBACK: Final = "127.0.0.1"
HEARING: Final = 0.2  # seconds until a stop is heard
UNWINDING: Final = 4.0  # seconds for a job that is called off to end its own processes
ATTEMPTS: Final = 2
STORE: Final = 100 * 2**20  # bytes of shared memory; reports are small
MISSING: Final = "--executor ray: Ray is not installed; install bdscan with the extra `ray`"

Job = Callable[[bytes], bytes]
Say = Callable[[str], None]


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[None]:
    """Ray, for as long as the context lasts: the cluster at `address`, else one of this machine alone.

    The latter offers `cpus` CPUs and the GPUs of this machine, listens on the loopback interface only, and is gone
    afterwards with all its files. `UsageError` where Ray is not installed, or does not start.
    """
    # Ray reads these when it is imported.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is not None:  # tries again for a quarter of an hour otherwise
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    elif "ray" not in sys.modules:  # a password: whoever may submit jobs may run code
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise UsageError(MISSING) from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what goes wrong reaches us as errors
    with private_folder(RAY) as folder:
        try:
            _start(ray, address, cpus, folder)
            yield
        finally:
            ray.shutdown()


def _start(ray: Any, address: str | None, cpus: int, folder: str) -> None:
    place: dict[str, Any] = {"address": address} if address is not None else {"address": "local", "num_cpus": cpus}
    if address is None:
        _keep_to_this_machine()
        place |= {"include_dashboard": False, "object_store_memory": STORE}
        place |= {"_node_ip_address": LOOPBACK, "_temp_dir": folder}
    _keep_from_stdout(ray)
    try:
        with _elsewhere(folder), _stderr_to(os.path.join(folder, "stderr")):
            ray.init(log_to_driver=False, configure_logging=False, **place)
    except Exception as error:  # of many kinds; all of them mean that there is no Ray
        where = "on this machine" if address is None else f"at {address}"
        raise UsageError(f"--executor ray: no Ray {where} ({one_line(str(error))})") from None
    if address is None and any(node["NodeManagerAddress"] != LOOPBACK for node in ray.nodes()):
        raise UsageError("--executor ray: this version of Ray would listen on the network; install another one")


def _keep_from_stdout(ray: Any) -> None:
    """Ray tells of a dead worker on standard output, where a report may be. We tell of it ourselves."""
    inside: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(inside, "print_to_stdstream"):
        inside.print_to_stdstream = lambda *given, **named: None


def gpus_for(device: str) -> int:
    """How many GPUs a scan on `device` takes: `auto` takes one where some node has one."""
    return int(device == "cuda" or (device == "auto" and _has({"GPU": 1})))


def call(job: Job, order: bytes, *, cpus: int, gpus: int, stop: threading.Event, say: Say) -> bytes:
    """What `job`, a function at the top of a module that the nodes have too, answers to `order`.

    Raises `Stopped` soon after `stop` is set, `UsageError` where no node is large enough, `WorkerFailed` where the job
    raises or its process dies again. `say` hears of the first death.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    if not _has({"CPU": cpus, "GPU": gpus}):
        wanted = f"{cpus} CPUs" + (f" and {gpus} GPU" if gpus else "")
        raise UsageError(f"--executor ray: no node of the cluster has {wanted}; lower --threads or choose --device cpu")
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, name=job.__name__)(interruptible)  # for `ps`
    death = ""
    for attempt in range(ATTEMPTS):
        if stop.is_set():
            raise Stopped
        try:
            return _awaited(ray, remote.remote(job, order), stop)
        except RayTaskError as error:
            raise WorkerFailed(f"the job failed on its Ray node ({_last_line(error)})", str(error)) from None
        except RayError as error:
            death = f"{type(error).__name__}: {one_line(str(error))[:200]}"
            if attempt + 1 < ATTEMPTS:
                say(f"a Ray worker died ({type(error).__name__}); its job runs once more")
    raise WorkerFailed(f"the Ray worker died {ATTEMPTS} times, so nothing is judged ({death})")


def interruptible(job: Job, order: bytes) -> bytes:
    """`job(order)` on a node. It would outlive a cancel where Ray was started with interrupts ignored (`nohup`)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return job(order)


def _awaited(ray: Any, reference: Any, stop: threading.Event) -> bytes:
    done = False
    try:
        while not done:
            if stop.is_set():
                raise Stopped
            done = bool(ray.wait([reference], timeout=HEARING)[0])
        answer: bytes = ray.get(reference)
        return answer
    finally:
        if not done:  # the job sees an interrupt, and ends what it has started
            ray.cancel(reference)
            ray.wait([reference], timeout=UNWINDING)


def _has(wanted: Mapping[str, float]) -> bool:
    """Whether one node has all of this."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return any(all(node.get(name, 0) >= count for name, count in wanted.items()) for node in nodes)


def _keep_to_this_machine() -> None:
    """Ray's own switch for machines whose firewall asks; without it Ray turns loopback into the network's address."""
    import ray._private.ray_constants as constants

    constants.ENABLE_RAY_CLUSTER = False


@contextmanager
def _elsewhere(folder: str) -> Iterator[None]:
    """In an empty folder, because Ray lets its workers import from the one that it is started in.

    That one may hold the model, and a `torch.py` beside it. Ray also takes SIGTERM, which is given back.
    """
    here, terminate = os.getcwd(), signal.getsignal(signal.SIGTERM)
    path = os.environ.get("PYTHONPATH")
    if path:
        os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(each) for each in path.split(os.pathsep) if each)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        if path:
            os.environ["PYTHONPATH"] = path
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)


@contextmanager
def _stderr_to(path: str) -> Iterator[None]:
    """What Ray's own libraries print is for a log; an error of theirs is one line of ours."""
    before = os.dup(2)
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        os.dup2(log, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(log)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else type(error).__name__
