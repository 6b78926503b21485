from __future__ import annotations

import fake_report
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdscan.jail import wire
from bdscan.settings import Settings

REPORT = fake_report.make(Settings(model="m", samples="s"))
FRAMES = [wire.Step(stage="load", share=0.5), wire.Failure(code="usage", message="é\u202e\x1b[2J"), REPORT]


@given(st.lists(st.sampled_from(FRAMES), max_size=6), st.integers(1, 700))
def test_frames_survive_any_cutting(frames, size):
    stream = b"".join(wire.encode(frame) for frame in frames)
    reader = wire.Reader()
    got = [frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])]
    assert got == frames


@given(st.binary(max_size=400))
def test_any_bytes_are_a_frame_a_wire_error_or_unfinished(data):
    try:
        frames = list(wire.Reader().feed(data))
    except wire.WireError:
        return
    assert all(isinstance(frame, wire.Frame) for frame in frames)


@pytest.mark.parametrize("kind", sorted(wire.CAPS))
def test_a_header_beyond_the_cap_is_refused_before_its_payload(kind):
    with pytest.raises(wire.WireError, match="more than"):
        list(wire.Reader().feed(wire.HEADER.pack(kind, wire.CAPS[kind] + 1)))
    assert list(wire.Reader().feed(wire.HEADER.pack(kind, wire.CAPS[kind]))) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"stage": "x", "share": NaN}',
        b'{"stage": "x", "share": 1e999}',
        b'{"stage": "x", "share": 2}',
        b'{"stage": "x", "share": 0.1, "more": 1}',
        b'{"stage": "' + b"x" * 301 + b'", "share": 0.1}',
        b'{"stage": "\xff", "share": 0.1}',
    ],
)
def test_invalid_json_of_a_known_kind_is_refused(payload):
    with pytest.raises(wire.WireError):
        wire.parse(b"S", payload)


def test_deep_nesting_in_a_report_is_refused_without_recursion():
    with pytest.raises(wire.WireError):
        wire.parse(b"R", b'{"settings": ' + b"[" * 1_000_000)


def test_a_worker_cannot_send_more_than_the_parent_takes(monkeypatch):
    monkeypatch.setitem(wire.CAPS, b"R", 100)
    with pytest.raises(wire.WireError, match="more than 100"):
        wire.encode(REPORT)
