"""What a published method says of one network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`score` orders networks, larger is more suspicious; `alarm` is the paper's own rule, `target` what it names."""

    score: float
    alarm: bool
    target: int | None
