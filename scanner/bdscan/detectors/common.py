"""Small things that several detectors need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from bdscan.intake.classifier import Scannable
from bdscan.report import Bar, Bars, Label

MOST_IMAGES: Final = 256


def evenly(values: Tensor, most: int) -> Tensor:
    """At most `most` rows of `values`, evenly spaced."""
    return values if len(values) <= most else values[torch.linspace(0, len(values) - 1, most).long()]


def lighter(subject: Scannable) -> Scannable:
    """With at most MOST_IMAGES samples in each part, evenly over the classes: with a thousand classes even two images
    each would cost more than the search itself. Clean accuracy has been measured on all of them."""
    samples = subject.samples

    def cut(part: Tensor) -> Tensor:
        return evenly(part[samples.labels[part].argsort(stable=True)], MOST_IMAGES) if len(part) > MOST_IMAGES else part

    return replace(subject, samples=replace(samples, search=cut(samples.search), held_out=cut(samples.held_out)))


def label_of(subject: Scannable, index: int) -> Label:
    return Label(index=index, name=subject.classifier.classes[index])


def bars(
    subject: Scannable,
    title: str,
    unit: str,
    values: Sequence[float | None],
    *,
    labels: Sequence[int] | None = None,
    highlighted: Sequence[int] = (),
    reference: float | None = None,
    censored: Sequence[bool] | None = None,
    log_scale: bool = False,
) -> Bars:
    """One bar per label; `labels` names the classes of `values` where not all were examined."""
    order = range(len(values)) if labels is None else labels
    cut = censored or [False] * len(values)
    return Bars(
        title=title,
        unit=unit,
        bars=tuple(
            Bar(label=label_of(subject, i), value=v, censored=c, highlighted=i in highlighted)
            for i, v, c in zip(order, values, cut, strict=True)
        ),
        reference=reference,
        log_scale=log_scale,
    )
