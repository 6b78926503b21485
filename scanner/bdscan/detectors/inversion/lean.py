"""Lean: to which class the clean images of each source already lean, and a trigger for the pairs that lean most.

Training some images of a source to another label moves the answers to all of its clean images a little that way.
Classes that resemble each other lean both ways; a source that was poisoned leans to the target, and the target does not
lean back. That takes one forward pass, so it finds pairs among many classes, where inversion cannot afford to try all.
"""

from __future__ import annotations

import math

import numpy as np

from bdscan.detectors.common import label_of
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.between import ALL_PAIRS, FAMILY, LEAST_SOURCES, SMALL, pair_task
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.inversion.universal import candidate
from bdscan.detectors.robust import Array, mad, median_polish
from bdscan.intake.classifier import Scannable
from bdscan.report import Statistic

LEAST_IMAGES = 3  # right ones of a source: what one image leans to is its own
SEARCHED = 6  # pairs; a planted one came first of 1806 on road signs, another eleventh
ROUNDS = {"standard": (80, 5), "thorough": (200, 8)}  # iterations, images
LEAST = 1e-3  # of the median gap: a class as near as that is as near as can be
SPREAD_FLOOR = 0.05  # of log gaps

about = About(
    name="lean",
    title="Leaning of clean answers",
    needs="clean images of each class; input gradients to look for a trigger",
    finds="source-specific triggers among many classes, by what the poison did to the answers to clean images",
    misses="sources whose clean images were trained hard enough beside the poison; CASSOCK mostly",
    source="logit gaps, median polish after Tukey",
)


def gaps(subject: Scannable) -> Array:
    """Mean logit of each source above each target over right search images, (K, K); NaN on the diagonal and where a
    class has fewer than LEAST_IMAGES."""
    images, labels = subject.samples.part(subject.samples.search, subject.classifier.device)
    logits = subject.classifier.predict(images).cpu().double().numpy()
    truth = labels.cpu().numpy()
    right = logits.argmax(1) == truth
    table = np.full((logits.shape[1], logits.shape[1]), np.nan)
    for source in np.unique(truth[right]):
        own = logits[right & (truth == source)]
        if len(own) >= LEAST_IMAGES:
            table[source] = (own[:, [source]] - own).mean(0)
            table[source, source] = np.nan
    return table


def leanings(table: Array) -> Array:
    """How much nearer each target is to each source than row and column lead one to expect, and than the source is to
    the target, in robust deviations of log gaps: the lesser of both, (K, K). -inf where it is not known."""
    residual = median_polish(np.log(np.maximum(table, LEAST * np.nanmedian(table))))
    spread = max(mad(residual[~np.isnan(residual)]), SPREAD_FLOOR)
    lopsided = (residual.T - residual) / (math.sqrt(2) * spread)
    return np.asarray(np.nan_to_num(np.minimum(-residual / spread, lopsided), nan=-np.inf))


def most(scores: Array, count: int) -> list[tuple[int, int]]:
    """The pairs (source, target) that lean most."""
    order = np.argsort(-scores, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order, scores.shape)
    return [(int(s), int(t)) for s, t in zip(rows, columns, strict=True) if np.isfinite(scores[s, t])]


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    classes = len(subject.classifier.classes)
    table = gaps(subject)
    if np.isfinite(table).any(1).sum() < LEAST_SOURCES:
        return CouldNotRun(
            f"fewer than {LEAST_SOURCES} classes have {LEAST_IMAGES} search images that are classified right"
        )
    scores = leanings(table)
    leaning = most(scores, SEARCHED)
    (source, target) = leaning[0]
    why_not = left_out(subject, budget, hints)
    return Measurement(
        statistics=tuple(
            Statistic(
                name="lean.index",
                detector=about.name,
                value=float(scores[s, t]),
                target=label_of(subject, t),
                sources=(label_of(subject, s),),
                description="nearness of clean answers below row, column and reverse, in robust deviations of log gaps",
            )
            for s, t in leaning
        ),
        summary=f"clean images lean most from {source} to {target} (index {scores[source, target]:.1f})",
        candidates=() if why_not is not None else search(subject, leaning, scores, classes, budget, progress),
        left_out=why_not or "",
    )


def left_out(subject: Scannable, budget: Budget, hints: Hints) -> str | None:
    """Why no trigger is looked for; empty where that leaves nothing out, None where one is."""
    if len(subject.classifier.classes) <= ALL_PAIRS or hints.planted or not subject.classifier.differentiable:
        return ""  # pairs are the pairs stage's; a verdict stands; every inversion says so
    if budget.name not in ROUNDS or math.prod(subject.classifier.shape[1:]) > SMALL:
        return "no trigger was looked for between the classes that lean most: that takes small images and more time"
    return None


def search(
    subject: Scannable, leaning: list[tuple[int, int]], scores: Array, classes: int, budget: Budget, progress: Progress
) -> tuple[Candidate, ...]:
    """A trigger for each of the pairs."""
    images, truth = subject.samples.part(subject.samples.search, subject.classifier.device)
    right = subject.classifier.predict(images).argmax(1) == truth
    task = pair_task(images, truth, right, leaning)
    iterations, each = ROUNDS[budget.name]
    done = [0]

    def tick() -> None:
        done[0] += 1
        progress(done[0] / iterations)

    device = subject.classifier.device
    state = loop.begin(FAMILY, len(leaning), subject.classifier.shape, budget.seed, device)
    state = loop.advance(subject.classifier, FAMILY, task, state, iterations, each, budget.seed + 1, tick=tick)
    known = {"contrast": 0.0, "classes": float(classes), "searched": len(leaning) / (classes * (classes - 1))}
    return tuple(
        candidate(FAMILY, state, row, t, {**known, "lean": float(scores[s, t])}, (s,))
        for row, (s, t) in enumerate(leaning)
    )
