"""Landlock: which files the worker may read, and the one folder it may write in. No privileges needed.

The numbers are the kernel's (`include/uapi/linux/landlock.h`). What a kernel's version ("ABI") does not know is left
out: the kernel refuses rights it does not know.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

CREATE, ADD_RULE, RESTRICT = 444, 445, 446  # the same on every architecture that has Landlock
VERSION_FLAG, PATH_BENEATH = 1, 1
PR_SET_NO_NEW_PRIVS = 38

(EXECUTE, WRITE, READ, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO,
 MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV) = (1 << bit for bit in range(16))  # fmt: skip
SINCE: Final = ((1, MAKE_SYM), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))  # ABI -> its last right
ON_FILES: Final = EXECUTE | WRITE | READ | TRUNCATE | IOCTL_DEV
TO_READ: Final = READ | READ_DIR
TO_WRITE: Final = TO_READ | WRITE | TRUNCATE | MAKE_REG | MAKE_DIR | REMOVE_FILE | REMOVE_DIR
TO_DRIVE: Final = TO_READ | WRITE | IOCTL_DEV
TCP: Final = 0b11  # bind, connect; ABI 4
SCOPED: Final = 0b11  # abstract unix sockets, signals; ABI 6


@dataclass(frozen=True)
class Places:
    """What a process may open: folders count with all below them. Places that do not exist are passed over."""

    read: tuple[str, ...]
    write: tuple[str, ...] = ()
    drive: tuple[str, ...] = ()  # device files


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(CREATE, ctypes.c_void_p(), ctypes.c_size_t(0), ctypes.c_uint(VERSION_FLAG)))


def restrict(places: Places, version: int) -> None:
    """Confine this thread, and all it starts from now on, for good. OSError where the kernel refuses.

    Everything that is not in `places` can no longer be opened, made, removed, linked, moved or run; TCP ports, abstract
    sockets and processes outside are out of reach where the kernel can do that.
    """
    handled = 2 * next(last for since, last in reversed(SINCE) if version >= since) - 1
    attributes = struct.pack("=QQQ", handled, TCP, SCOPED)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _checked(_call(CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)))
    try:
        for paths, rights in ((places.read, TO_READ), (places.write, TO_WRITE), (places.drive, TO_DRIVE)):
            _allow(rules, paths, rights & handled)
        libc = ctypes.CDLL(None, use_errno=True)
        zero = ctypes.c_long(0)
        _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_long(1), zero, zero, zero))
        _checked(_call(RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0)))
    finally:
        os.close(rules)


def _allow(rules: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError):
            continue
        try:
            allowed = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & ON_FILES
            beneath = struct.pack("=Qi", allowed, place)
            _checked(_call(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(PATH_BENEATH), beneath, ctypes.c_uint(0)))
        finally:
            os.close(place)


def _call(number: int, *arguments: object) -> int:
    function: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    return function(ctypes.c_long(number), *arguments)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
