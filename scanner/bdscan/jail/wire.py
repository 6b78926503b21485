"""What crosses from worker to parent: length-capped JSON frames, and nothing else.

A frame is one byte for its kind, four for its length (big-endian), then UTF-8 JSON. The length is checked against the
kind's cap before anything is kept, the JSON against a pydantic model before anything is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from bdscan.mitigate.outcome import Profile
from bdscan.repair.outcome import Repair
from bdscan.report import Name, Report, Value
from bdscan.saved import Invalid, validated

HEADER: Final = struct.Struct(">cI")
KIB, MIB = 2**10, 2**20
ENOUGH: Final = b"."  # to the worker, on its stdin: go on with what a repair has by now
MESSAGE_LENGTH: Final = 2_000
TRACE_LENGTH: Final = 20_000


class WireError(Exception):
    """Bytes that are no valid frame: too long, of no known kind, or not what the kind says."""


class Step(Value):
    """Progress: `share` of `stage` is done."""

    stage: Name
    share: Annotated[float, Field(ge=0, le=1)]


class Failure(Value):
    """The scan ended without a report. `usage` and `judge` are bdscan's own errors, `internal` is an unexpected one."""

    code: Literal["usage", "judge", "internal"]
    message: Annotated[str, Field(max_length=MESSAGE_LENGTH)]
    trace: Annotated[str, Field(max_length=TRACE_LENGTH)] = ""


Frame = Step | Failure | Report | Repair | Profile

MODELS: Final[dict[bytes, type[Step] | type[Failure] | type[Report] | type[Repair] | type[Profile]]] = {
    b"S": Step,
    b"F": Failure,
    b"R": Report,
    b"P": Repair,
    b"T": Profile,
}
CAPS: Final = {b"S": 4 * KIB, b"F": 256 * KIB, b"R": 64 * MIB, b"P": 160 * MIB, b"T": 16 * MIB}


def encode(frame: Frame) -> bytes:
    """The frame's bytes. `WireError` where it is longer than its cap: better here than a parent that hangs up."""
    kind = next(kind for kind, model in MODELS.items() if isinstance(frame, model))
    payload = frame.model_dump_json().encode()
    _check(kind, len(payload))
    return HEADER.pack(kind, len(payload)) + payload


def parse(kind: bytes, payload: bytes) -> Frame:
    """The frame in `payload`, validated."""
    try:
        return validated(MODELS[kind], payload)
    except Invalid as error:
        raise WireError(str(error)) from None


class Reader:
    """Cuts a stream of bytes into frames; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes. `WireError` as soon as a header or a frame is wrong."""
        self._pending += chunk
        while len(self._pending) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._pending)
            _check(kind, length)
            end = HEADER.size + length
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[HEADER.size : end])
            del self._pending[:end]
            yield parse(kind, payload)


def _check(kind: bytes, length: int) -> None:
    if kind not in CAPS:
        raise WireError(f"a frame of unknown kind {kind!r}")
    if length > CAPS[kind]:
        raise WireError(f"a {MODELS[kind].__name__} of {length} bytes, more than {CAPS[kind]}")
