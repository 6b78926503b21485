"""Scales and ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bdscan.formats.text import number

WIDTH: Final = 380


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to units in [start, end], linearly or by logarithm; values outside are clipped."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._warp(self.low), self._warp(self.high)
        share = (self._warp(value) - low) / (high - low) if high > low else 0.0
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 2)

    def _warp(self, value: float) -> float:
        # Halves keep the differences of two huge values finite.
        return math.log10(max(value, self.low)) if self.log else value / 2

    def ticks(self, count: int = 4) -> tuple[Tick, ...]:
        values = _powers(self.low, self.high) if self.log else _steps(self.low, self.high, count)
        return tuple(Tick(self(value), number(value)) for value in values)


def linear(values: Iterable[float], start: float, end: float, include: tuple[float, ...] = ()) -> Scale:
    """A linear scale over `values` and `include`, widened to whole steps."""
    every = [*values, *include] or [0.0, 1.0]
    low, high = min(every), max(every)
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or 1.0
    step = _step(low, high, 4)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Scale(low, high, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale over the positive ones of `values`, widened to whole powers of ten."""
    every = [value for value in values if value > 0] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(every)) - 1e-9), math.ceil(math.log10(max(every)) + 1e-9)
    return Scale(10.0 ** max(low, -300), 10.0 ** min(high, 300), start, end, log=True)


def _step(low: float, high: float, count: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts the range into at most `count` parts, or about that."""
    raw = max((high / count) - (low / count), 1e-300)
    power = 10.0 ** math.floor(math.log10(raw))
    return next((factor * power for factor in (1.0, 2.0, 5.0) if factor * power >= raw * 0.999), 10 * power)


def _steps(low: float, high: float, count: int) -> list[float]:
    step = _step(low, high, count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, min(last, first + 2 * count) + 1)]


def _powers(low: float, high: float) -> list[float]:
    first, last = round(math.log10(low)), round(math.log10(high))
    stride = max(1, math.ceil((last - first) / 4))
    return [10.0**power for power in range(first, last + 1, stride)]
