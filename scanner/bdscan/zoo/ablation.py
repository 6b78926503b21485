"""Steps against DMS-Steps (P4, V.B): which classes each calls backdoored, with and without the mask E."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from bdscan.detectors import steps
from bdscan.detectors.interface import BudgetName
from bdscan.detectors.robust import Array, upper_group
from bdscan.intake.classifier import Scannable


@dataclass(frozen=True)
class Detection:
    """P4's metrics over the K classes of one network.

    Attributes:
        flagged: the classes called backdoored.
        acc: share of classes of which this is right.
        tpr: share of the true targets that are flagged; None where there is none.
    """

    flagged: tuple[int, ...]
    acc: float
    tpr: float | None


def detection(flagged: set[int], targets: set[int], classes: int) -> Detection:
    right = classes - len(flagged ^ targets)
    tpr = len(flagged & targets) / len(targets) if targets else None
    return Detection(tuple(sorted(flagged)), right / classes, tpr)


def columns_by_kmeans(table: Array) -> set[int]:
    """Classes in the higher of two clusters of the column sums of Lead (K, K): where first flips land, any source."""
    return set(np.flatnonzero(upper_group(table.sum(0))).tolist())


def compare(subject: Scannable, mask: Tensor | None, targets: tuple[int, ...], budget: BudgetName) -> dict[str, Any]:
    """For `steps` and, with a mask, `dms_steps`: the share that flipped, and the detection by rows and by columns.

    By rows a class is flagged where k-means singles it out in any row of Lead (P4, algorithm 1, line 10).
    """
    ways: dict[str, Tensor | None] = {"steps": None}
    if mask is not None:
        ways["dms_steps"] = mask
    out: dict[str, Any] = {}
    classes, rounds, true = len(subject.classifier.classes), steps.ROUNDS[budget], set(targets)
    for name, constraint in ways.items():
        sources, first, landed = steps.mutate(subject, rounds, mask=constraint)
        if not len(sources):
            continue
        table = steps.lead(sources, first, landed, classes, rounds)
        rows = {n for _, n in steps.rows_by_kmeans(table)}
        out[name] = {
            "flipped": float((landed >= 0).mean()),
            "rows": asdict(detection(rows, true, classes)),
            "columns": asdict(detection(columns_by_kmeans(table), true, classes)),
        }
    return out
