"""Small things that several detectors need."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bdscan.intake.classifier import Scannable
from bdscan.report import Bar, Bars, Label


def evenly(values: Tensor, most: int) -> Tensor:
    """At most `most` rows of `values`, evenly spaced."""
    return values if len(values) <= most else values[torch.linspace(0, len(values) - 1, most).long()]


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
