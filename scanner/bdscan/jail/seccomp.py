"""The system call filter: what a scan needs is allowed, everything else does not exist for the worker.

Not on the list, among others: sockets, exec and fork, ptrace and other processes' memory, signals to others, mounts and
namespaces, io_uring, bpf, keys, shared memory outside the process's limits (memfd, System V), and what changes files
without opening them (chmod, chown, utime, xattr), which Landlock does not cover.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Final

from bdscan.jail.bpf import Call, Check, program
from bdscan.jail.syscalls import ARCHITECTURES

PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, FLAG_TSYNC = 38, 1, 1
_ALWAYS = """
    read write close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
    rt_sigreturn pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 access pipe pipe2 select pselect6
    ppoll sched_yield mremap msync mincore madvise dup dup2 dup3 nanosleep clock_nanosleep clock_gettime
    clock_getres gettimeofday time getpid getppid getpgid getpgrp getsid gettid getuid geteuid getgid getegid
    getgroups getresuid getresgid exit exit_group uname fsync fdatasync ftruncate fallocate fadvise64 getdents
    getdents64 getcwd rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat readlink readlinkat
    getrlimit setrlimit getrusage sysinfo times rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack statfs
    fstatfs getpriority sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
    sched_getattr sched_getaffinity getcpu arch_prctl futex futex_waitv set_tid_address set_robust_list
    get_robust_list restart_syscall rseq membarrier epoll_create epoll_create1 epoll_wait epoll_pwait epoll_ctl
    eventfd2 mbind get_mempolicy newfstatat statx faccessat faccessat2 getrandom close_range
"""
PLAIN: Final = tuple(_ALWAYS.split())

CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
READ_ONLY_TRUNCATE, ACCESS_MODE = 0o1000, 0o3  # O_TRUNC without writing: Landlock sees it from ABI 3 on only
TERMINAL_IOCTLS = (
    0x5401,
    0x541B,
    0x5450,
    0x5451,
    0x5421,
    0x5413,
)  # TCGETS FIONREAD FIONCLEX FIOCLEX FIONBIO TIOCGWINSZ
OWN_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)  # no F_SETOWN, F_SETSIG, F_NOTIFY: they send signals
OWN_PRCTLS = (3, 15, 16, 38, 39, 0x53564D41)  # dumpable?, thread name, no_new_privs, names of anonymous memory
TYPE_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
AF_UNIX = 1


def allowed_calls(gpu: bool) -> tuple[Call, ...]:
    """The filter as data. A GPU's driver is spoken to by ioctl, and its library opens local sockets of its own."""
    own = Check(0, os.getpid())
    calls = [Call(name) for name in PLAIN]
    # Threads, but no processes. `clone3` hides its flags in memory where no filter sees them: it does not exist.
    calls.append(Call("clone", (Check(0, CLONE_THREAD, CLONE_THREAD), Check(0, 0, NEW_NAMESPACES))))
    calls += [Call("tgkill", (own,)), Call("prlimit64", (Check(0, 0),)), Call("prlimit64", (own,))]
    for name, argument in (("open", 1), ("openat", 2)):
        mode = Check(argument, READ_ONLY_TRUNCATE, READ_ONLY_TRUNCATE | ACCESS_MODE, equal=False)
        calls.append(Call(name, (mode,)))
    calls += [Call("fcntl", (Check(1, command),)) for command in OWN_FCNTLS]
    calls += [Call("prctl", (Check(0, option),)) for option in OWN_PRCTLS]
    if gpu:
        calls.append(Call("ioctl", tuple(Check(1, command, equal=False) for command in TYPE_INTO_TERMINAL)))
        calls += [Call(name, (Check(0, AF_UNIX),)) for name in ("socket", "socketpair")]
        calls += [Call(name) for name in ("bind", "listen", "mlock", "mlock2", "munlock")]
    else:
        calls += [Call("ioctl", (Check(1, command),)) for command in TERMINAL_IOCTLS]
    return tuple(calls)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def filter_calls(gpu: bool) -> str | None:
    """Install the filter for good, in every thread; what stands in its way, or None once it works."""
    if sys.platform != "linux":
        return f"none for {platform.system()}"
    machine = platform.machine()
    if machine not in ARCHITECTURES or sys.maxsize < 2**32:
        return f"no table for {machine}"
    architecture, numbers = ARCHITECTURES[machine]
    code = program(allowed_calls(gpu), numbers, architecture)
    libc = ctypes.CDLL(None, use_errno=True)
    handed = _Program(len(code) // 8, code)
    long = ctypes.c_long
    if libc.prctl(PR_SET_NO_NEW_PRIVS, long(1), long(0), long(0), long(0)):
        return f"no_new_privs refused ({os.strerror(ctypes.get_errno())})"
    done = libc.syscall(long(numbers["seccomp"]), long(SET_MODE_FILTER), long(FLAG_TSYNC), ctypes.byref(handed))
    if done < 0:
        return f"refused by the kernel ({os.strerror(ctypes.get_errno())})"
    return "a thread could not be filtered" if done else None
