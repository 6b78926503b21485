"""Pairwise inversion: a trigger from one source class to one target class.

A universal loss cannot see a source-specific or an all-to-all backdoor. All pairs are inverted while K is small, else
all sources of the targets that cheaper stages point at. A pair is judged against its row and its column (median
polish), since natural neighbours are close too, and against its own reverse: 4 and 9 resemble each other in both
directions, a planted pair is close in one.

A planted trigger goes on shrinking where natural ones have settled, so the contrast is taken after a second rung.
It is run for the smallest pairs and a few controls; the others are taken to shrink as the controls did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.common import label_of
from bdscan.detectors.interface import About, Budget, BudgetName, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.between import ALL_PAIRS, FAMILY, LEAST_SOURCES, SMALL, pair_task
from bdscan.detectors.inversion.universal import candidate
from bdscan.detectors.robust import Array, known_median, mad, median_polish
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.report import Matrix, Statistic

FIRST = {"quick": (40, 2), "standard": (50, 3), "thorough": (150, 5)}  # iterations, images
SECOND = {"quick": (40, 4), "standard": (50, 5), "thorough": (150, 8)}  # for the smallest pairs and for controls
SHARE = 0.27  # of the pairs that go on to the second rung, with a third as many controls
TARGETS = {"quick": 2, "standard": 4, "thorough": 12}  # else so many targets, from every source
SOURCES = {
    "quick": 16,
    "standard": 48,
    "thorough": 48,
}  # at most so many, evenly spaced over the classes that have images
DRAWN = 12  # classes up to which a table of all pairs is shown
KEEP = 6
FEWEST = 3  # right images of a source, where there are so many: a trigger for one image is an adversarial example
SPREAD_FLOOR = 0.15  # of log sizes, natural logarithm

about = About(
    name="pairs",
    title="Pairwise inversion",
    needs="input gradients and clean images of each class",
    finds="source-specific and all-to-all triggers",
    misses=(
        "pairs no smaller than natural neighbours; above 12 classes, beside a confirmed trigger, or in a quick scan of"
        " large images also pairs to targets that no cheaper stage ranks high"
    ),
    source="P1 (class pairs), median polish after Tukey",
)


def choose(classes: int, have: Sequence[int], hints: Hints, budget: BudgetName, pixels: int) -> list[tuple[int, int]]:
    """The pairs (source, target), in a fixed order; `have` are the classes with images enough to be sources.

    To every target while there are few classes and that is affordable, else to the highest ranked ones. Where a
    universal trigger has been confirmed, half as many targets beside its own: the verdict stands, and what is left to
    find is a second trigger.
    """
    free = [t for t in (hints.ranking or range(classes)) if t not in hints.planted]
    if hints.planted:
        wanted = set(free[: max(TARGETS[budget] // 2, 1)])
    elif classes <= ALL_PAIRS and (budget != "quick" or pixels <= SMALL):
        wanted = set(range(classes))
    else:
        wanted = set(free[: TARGETS[budget]])
    sources = have[:: max(1, -(-len(have) // SOURCES[budget]))]
    return [(s, t) for s in sources for t in range(classes) if s != t and t in wanted]


def fewest(counts: Tensor) -> int:
    """How many images, of the (K,) that each class has, make it a source: FEWEST, or less where most have fewer."""
    present = int((counts > 0).sum())
    return next((n for n in range(FEWEST, 1, -1) if 2 * int((counts >= n).sum()) > present), 1)


def pair_scores(pairs: list[tuple[int, int]], log_sizes: Array, classes: int) -> Array:
    """How much smaller each pair's trigger is than its row, its column and its reverse lead one to expect (P,).

    In robust standard deviations, larger is more suspicious. With all pairs: the median-polish residual, and the
    difference to the reverse pair's residual, whichever is the less suspicious. With few targets: against the column.
    """
    table = np.full((classes, classes), np.nan)
    for (s, t), v in zip(pairs, log_sizes, strict=True):
        table[s, t] = v
    full = len(pairs) == classes * (classes - 1)
    residual = median_polish(table) if full else table - known_median(table, 0)
    known = residual[~np.isnan(residual)]
    spread = max(mad(known), SPREAD_FLOOR)
    scores = []
    for s, t in pairs:
        own = -residual[s, t] / spread
        back = residual[t, s]
        lopsided = (back - residual[s, t]) / (math.sqrt(2) * spread) if not np.isnan(back) else own
        scores.append(min(own, max(lopsided, 0.5 * own)))
    return np.asarray(scores)


def contrasts(pairs: list[tuple[int, int]], sizes: Array, classes: int) -> tuple[Array, Array]:
    """Scores and contrasts (P,) of the pairs. The contrast is high for pairs that are small both relatively and
    absolutely: clean networks have pairs that are merely less large than their row and column."""
    scores = pair_scores(pairs, np.log(np.maximum(sizes, 1.0)), classes)
    return scores, scores * np.maximum(np.log(np.median(sizes) / np.maximum(sizes, 1.0)), 0.0)


def finite(state: loop.State, cap: float) -> Array:
    """The sizes (P,); `cap` where no trigger reached the goal."""
    return torch.where(torch.isinf(state.size), torch.full_like(state.size, cap), state.size).cpu().double().numpy()


def two_rungs(
    classifier: Classifier, task: loop.Task, pairs: list[tuple[int, int]], budget: Budget, progress: Progress
) -> tuple[Array, loop.State, list[int]]:
    """All sizes (P,), the second rung's state, and which pairs its rows are."""
    (first, few), (second, more) = FIRST[budget.name], SECOND[budget.name]
    ahead = max(min(KEEP, len(pairs)), round(SHARE * len(pairs)))
    others = min(len(pairs) - ahead, max(4, ahead // 3))
    work = first * few * len(pairs) + second * more * (ahead + others)
    done = [0]

    def tick(cost: int) -> None:
        done[0] += cost
        progress(done[0] / work)

    state = loop.begin(FAMILY, len(pairs), classifier.shape, budget.seed, classifier.device)
    seed, each = budget.seed + 1, few * len(pairs)
    state = loop.advance(classifier, FAMILY, task, state, first, few, seed, tick=lambda: tick(each))
    cap = FAMILY.cap(classifier.shape)
    start = finite(state, cap)
    order = (-contrasts(pairs, start, len(classifier.classes))[1]).argsort(kind="stable")
    controls = np.random.default_rng(budget.seed).permutation(order[ahead:])[:others]
    on = [int(i) for i in (*order[:ahead], *controls)]
    rows = torch.tensor(on, device=classifier.device)
    seed, each = budget.seed + 2, more * len(on)
    later = loop.advance(
        classifier, FAMILY, task.only(rows), state.only(rows), second, more, seed, tick=lambda: tick(each)
    )
    end = finite(later, cap)
    sizes = start * (float(np.median(end[ahead:] / start[controls])) if others else 1.0)
    sizes[on] = end
    return sizes, later, on


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    classifier = subject.classifier
    if not classifier.differentiable:
        return CouldNotRun("the model has no input gradients")
    classes = len(classifier.classes)
    images, truth = subject.samples.part(subject.samples.search, classifier.device)
    right = classifier.predict(images).argmax(1) == truth
    counts = torch.bincount(truth[right], minlength=classes)
    have = (counts >= fewest(counts)).nonzero()[:, 0].tolist()
    pairs = choose(classes, have, hints, budget.name, math.prod(images.shape[2:]))
    if len({source for source, _ in pairs}) < LEAST_SOURCES:
        return CouldNotRun(f"fewer than {LEAST_SOURCES} classes have search images that are classified right")
    task = pair_task(images, truth, right, pairs)
    sizes, later, on = two_rungs(classifier, task, pairs, budget, progress)
    scores, contrast = contrasts(pairs, sizes, classes)
    best = sorted(range(len(on)), key=lambda place: (-contrast[on[place]], place))[:KEEP]
    keep = [on[place] for place in best]
    statistics = tuple(
        Statistic(
            name="pairs.contrast",
            detector=about.name,
            value=float(contrast[i]),
            target=label_of(subject, pairs[i][1]),
            sources=(label_of(subject, pairs[i][0]),),
            description="score below row, column and reverse (robust deviations) times log of the median over the size",
        )
        for i in keep
    )
    best_by_target: dict[int, float] = {}
    for (_, t), v in zip(pairs, contrast, strict=True):
        best_by_target[t] = max(best_by_target.get(t, -math.inf), float(v))
    top = keep[0]
    targets = len({t for _, t in pairs})
    return Measurement(
        statistics=statistics,
        evidence=(matrix(subject, pairs, sizes, [pairs[i] for i in keep[:2]]),) if classes <= DRAWN else (),
        summary=(
            f"smallest for its row and column: {pairs[top][0]} to {pairs[top][1]} (contrast {contrast[top]:.1f});"
            f" {len(pairs)} pairs to {targets} targets"
        ),
        left_out=left_out(len(pairs), targets, classes),
        scores=best_by_target,
        candidates=tuple(
            candidate(
                FAMILY,
                later,
                place,
                pairs[row][1],
                metrics(scores[row], contrast[row], sizes[row], sizes, len(pairs), classes),
                (pairs[row][0],),
            )
            for place, row in zip(best, keep, strict=True)
        ),
    )


def left_out(searched: int, targets: int, classes: int) -> str:
    """What `choose` left out, in words; empty if every pair was searched."""
    if searched == classes * (classes - 1):
        return ""
    return f"only {searched} of {classes * (classes - 1)} class pairs were searched, to {targets} of {classes} targets"


def metrics(score: float, contrast: float, size: float, sizes: Array, pairs: int, classes: int) -> dict[str, float]:
    """What the rules read of one pair, of so many that were searched among so many classes."""
    return {
        "score": float(score),
        "contrast": float(contrast),
        "size_ratio": float(size / np.median(sizes)),
        "searched": pairs / (classes * (classes - 1)),
        "classes": float(classes),
        "lean": 0.0,  # not what it was found by
    }


def matrix(subject: Scannable, pairs: list[tuple[int, int]], sizes: Array, top: list[tuple[int, int]]) -> Matrix:
    classes = len(subject.classifier.classes)
    table: list[list[float | None]] = [[None] * classes for _ in range(classes)]
    for (s, t), v in zip(pairs, sizes, strict=True):
        table[s][t] = float(v)
    names = tuple(label_of(subject, i) for i in range(classes))
    return Matrix(
        title="Trigger size by source and target",
        unit=FAMILY.unit,
        rows=names,
        columns=names,
        values=tuple(tuple(row) for row in table),
        highlighted=tuple(top),
    )
