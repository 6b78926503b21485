"""What a scan may read and write, worked out before anything of the user's is opened."""

from __future__ import annotations

import glob
import os
import stat
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bdscan.jail.landlock import Places
from bdscan.resources import PACKAGE, resource
from bdscan.settings import IMAGE_SUFFIXES, ProfileSettings, RepairSettings, Settings

SYSTEM: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    "/usr/share/locale", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime", "/etc/os-release",
    "/dev/null", "/dev/urandom", "/dev/random", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo",
    "/proc/stat", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/osrelease",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage", "/sys/fs/cgroup",
)  # fmt: skip
STORES: Final = ("/nix/store", "/gnu/store")  # systems that keep every library in a folder of its own
GPU: Final = ("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/sys/bus/pci/devices", "/usr/share/nvidia")
GPU_DEVICES: Final = "/dev/nvidia*"
HEAD: Final = 9  # bytes that tell the formats that never have files beside them
MOST_LINKS: Final = 5_000
DEEPEST: Final = 8  # folders below the samples that are looked through for links


def has_gpu(settings: Settings) -> bool:
    """Whether this scan may touch a GPU, as far as can be told without asking the driver."""
    return settings.device != "cpu" and bool(glob.glob(GPU_DEVICES))


def places(settings: Settings, private: str, gpu: bool, environment: Mapping[str, str] = os.environ) -> Places:
    """The interpreter and its packages, the files that the user named, and `private` to write in."""
    return Places(
        read=(*SYSTEM, *_interpreter(environment), *_named(settings), *(GPU if gpu else ())),
        write=(private,),
        drive=("/dev/null", *(sorted(glob.glob(GPU_DEVICES)) if gpu else ())),
    )


def _interpreter(environment: Mapping[str, str]) -> Iterator[str]:
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values(), *sys.path}
    yield from sorted(root for root in roots if os.path.isabs(root) and os.path.realpath(root) != "/")
    yield from (str(PACKAGE), str(resource("rules")))
    yield from (folder for folder in environment.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(folder))
    yield from glob.glob("/usr/local/cuda*")
    yield from (store for store in STORES if os.path.realpath(sys.executable).startswith(store))


def _named(settings: Settings) -> Iterator[str]:
    for model in (settings.model, settings.reference):
        if model is not None:
            yield model
            if may_have_sidecars(model):
                yield os.path.dirname(os.path.abspath(model))
    for arch in (settings.arch, settings.reference_arch):
        file, colon, _ = (arch or "").rpartition(":")
        if colon and file != "torchvision":
            yield os.path.dirname(os.path.realpath(file))  # it may import its neighbours
    yield from (file for file in (settings.labels, settings.calibration, *settings.rules) if file is not None)
    if isinstance(settings, RepairSettings | ProfileSettings):
        yield settings.report
    if isinstance(settings, ProfileSettings) and settings.trigger is not None:
        yield settings.trigger
    yield settings.samples
    if os.path.isdir(settings.samples):
        yield from linked_images(settings.samples)


def may_have_sidecars(model: str) -> bool:
    """Whether the file may be ONNX, whose weights may lie beside it: not a zip, a pickle or safetensors.

    A few bytes of it are compared, nothing is parsed.
    """
    try:
        descriptor = os.open(model, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        head = file.read(HEAD)
    return not (head.startswith((b"PK\x03\x04", b"\x80")) or head[8:9] == b"{")


def linked_images(folder: str) -> Iterator[str]:
    """Where links in the samples lead, for links to image files only: samples are often chosen by linking them.

    A link to anything else, or to a folder, is not followed: it is more likely to come from a hostile archive.
    """
    root, left = Path(folder), MOST_LINKS
    waiting = [(root, 0)]
    while waiting and left:
        here, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting += [(Path(entry.path), depth + 1)] if depth < DEEPEST else []
            elif entry.is_symlink() and left:
                target = os.path.realpath(entry.path)
                if os.path.splitext(target)[1].lower() in IMAGE_SUFFIXES and os.path.isfile(target):
                    left -= 1
                    yield target
