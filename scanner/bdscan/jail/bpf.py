"""Classic BPF programs for seccomp: from a list of allowed calls to the instructions that the kernel runs.

The program checks the architecture first (a call has other numbers in the 32-bit mode of the same CPU), then compares
the call's number with every allowed one. Arguments are compared by their low 32 bits, which is all the kernel reads of
the ones that are checked here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from errno import ENOSYS
from typing import Final

LOAD, JUMP_EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_ALU|AND|K, BPF_RET|K
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
# "No such system call": what libraries already expect from an older kernel, and fall back from.
REFUSE: Final = ERRNO | ENOSYS
LONGEST: Final = 4096  # instructions, the kernel's limit

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


@dataclass(frozen=True)
class Check:
    """The `argument`-th argument (from 0), masked, equals `value`; or, with `equal` false, does not."""

    argument: int
    value: int
    mask: int = 0xFFFFFFFF
    equal: bool = True


@dataclass(frozen=True)
class Call:
    """A system call that is allowed where all checks hold. The same name again is an alternative."""

    name: str
    checks: tuple[Check, ...] = ()


def program(calls: Iterable[Call], numbers: Mapping[str, int], architecture: int) -> bytes:
    """`struct sock_filter`s that allow `calls` and refuse all others; names not in `numbers` do not exist there."""
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCH_AT),
        (JUMP_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
    ]
    for call in calls:
        if call.name in numbers:
            code += _allowed(numbers[call.name], call.checks)
    code.append((RETURN, 0, 0, REFUSE))
    if len(code) > LONGEST:
        raise ValueError(f"a filter of {len(code)} instructions; the kernel takes {LONGEST}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _allowed(number: int, checks: tuple[Check, ...]) -> list[Instruction]:
    """Allow, or fall through to the instruction after these."""
    body: list[Instruction] = []
    left = 4 * len(checks) + 1  # instructions from here to the end of the block
    for check in checks:
        left -= 4
        body += [
            (LOAD, 0, 0, ARGUMENTS_AT + 8 * check.argument),
            (AND, 0, 0, check.mask),
            (JUMP_EQUAL, 1 if check.equal else 0, 0 if check.equal else 1, check.value & check.mask),
            (JUMP_EQUAL, left, left, 0),  # out of the block: both ways
        ]
    body.append((RETURN, 0, 0, ALLOW))
    return [(LOAD, 0, 0, NUMBER_AT), (JUMP_EQUAL, 0, len(body), number), *body]
