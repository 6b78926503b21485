"""Scales and ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bdscan.formats.text import number

WIDTH: Final = 380
END: Final = 1e200  # of every axis: a report may hold any float, and arithmetic on the largest ones overflows
NEAR: Final = 1e-200


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
        return round(self.start + share * (self.end - self.start), 2)

    def _warp(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return math.log10(inside) if self.log else inside

    def ticks(self, count: int = 4) -> tuple[Tick, ...]:
        values = _powers(self.low, self.high) if self.log else _steps(self.low, self.high, count)
        return tuple(Tick(self(value), number(value)) for value in values)


def linear(values: Iterable[float], start: float, end: float, include: tuple[float, ...] = ()) -> Scale:
    """A linear scale over `values` and `include`, widened to whole steps."""
    every = [min(max(value, -END), END) for value in (*values, *include)] or [0.0, 1.0]
    low, high = min(every), max(every)
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or 1.0
    step = _step(low, high, 4)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Scale(low, high, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale over the positive ones of `values`, widened to whole powers of ten."""
    every = [min(max(value, NEAR), END) for value in values if value > 0] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(every)) - 1e-9), math.ceil(math.log10(max(every)) + 1e-9)
    return Scale(10.0**low, 10.0**high, start, end, log=True)


def _step(low: float, high: float, count: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts the range into at most `count` parts, or about that."""
    raw = max((high - low) / count, NEAR)
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
