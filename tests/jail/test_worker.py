from __future__ import annotations

import pytest

from bdscan.errors import CannotJudge, UsageError
from bdscan.jail import worker

NO_MEMORY = "the scan ran out of memory; give it more with --memory-gb"


@pytest.mark.parametrize(
    "error, code, message",
    [
        (UsageError("give --arch"), "usage", "give --arch"),
        (CannotJudge("NaN"), "judge", "NaN"),
        (MemoryError(), "judge", NO_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "judge", NO_MEMORY),
        (ImportError("a.so: failed to map segment from shared object"), "judge", NO_MEMORY),
        (KeyError("boom"), "internal", "KeyError: 'boom'"),
        (RuntimeError("first\nsecond"), "internal", "RuntimeError: first"),
        (ValueError(), "internal", "ValueError: no message"),
    ],
)  # fmt: skip
def test_an_exception_becomes_a_failure(error, code, message):
    failure = worker._failure(error)
    assert (failure.code, failure.message) == (code, message)
    assert type(error).__name__ in failure.trace


def test_a_failure_fits_its_frame_however_long_the_exception_is():
    failure = worker._failure(ValueError("x" * 1_000_000))
    assert len(failure.message) == 2000
    assert failure.trace


def test_progress_is_clamped_and_throttled_but_never_loses_a_stage_or_its_end():
    sent = []
    progress = worker._throttled(sent.append)
    for stage in ("load", "search"):
        for share in range(-1, 102):
            progress(stage, share / 100)
    assert [(step.stage, step.share) for step in sent if step.share in {0, 1}] == [
        ("load", 0), ("load", 1), ("load", 1), ("search", 0), ("search", 1), ("search", 1)
    ]  # fmt: skip
    assert len(sent) < 20
