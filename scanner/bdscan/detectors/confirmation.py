"""Confirmation: every suspected trigger is tried on held-out images, and looked for again from a second seed.

The second search takes the suspected labels and ordinary ones as controls, all afresh and with more images a step; a
trigger that was a lucky start of the first search does not come back small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.common import evenly
from bdscan.detectors.interface import About, BudgetName
from bdscan.detectors.inversion import loop, wave_search
from bdscan.detectors.inversion.families import FAMILIES, wave
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.inversion.universal import candidate as make_candidate
from bdscan.detectors.wilson import wilson
from bdscan.intake.classifier import Classifier, Scannable

ROUNDS = {"quick": (60, 8), "standard": (80, 12), "thorough": (300, 32)}  # iterations, images
CONTROLS = 3
PAIR_CONTROLS = 5  # of the same source; cheap, since a pair has few images
PAIR_COLUMN = 3  # to the same target, from other sources
GOAL = 0.97  # the first search keeps the smallest of many tries at 90 %, so its winners do worse on unseen images
INTENSITIES = tuple(i / 8 for i in range(13))  # 0 ... 1.5
PROFILED = 64  # images of the profile at most; the success rate itself is of all

about = About(
    name="confirmation",
    title="Confirmation",
    needs="held-out images; a suspected trigger from an inversion",
    finds="whether a suspected trigger works on unseen images and is found again from a second seed",
    misses="nothing of its own: it only tests what others found",
    source="P0 (intensity profile), P1 (success on unseen samples)",
)


@dataclass(frozen=True)
class Repeat:
    """What a second search found.

    Attributes:
        size: infinite where it never reached the goal.
        ratio: that size to the median of the controls'.
        asr: held-out success of its trigger.
    """

    size: float
    ratio: float
    asr: float


@dataclass(frozen=True)
class Confirmation:
    """What became of one suspected trigger.

    Attributes:
        trigger: the smaller of the first and the second search's triggers that work.
        hits, n: held-out images of its source classes sent to the target, of how many; images already there left out.
        interval: 95 % Wilson interval of hits / n.
        repeat: the second search; None where none could change what the trigger is.
        profile: success at INTENSITIES on at most PROFILED of them.
        reference_asr: success of the same trigger on the trusted network, if there is one.
        moved: root mean square change of a pixel, 0..1, that the first search's trigger makes on those images.
        recognised: share of the images, classified right as they are, that are so in the trigger's light too, or under
            other waves of its strength; 1 for what is neither a light nor a wave.
    """

    trigger: Candidate
    hits: int
    n: int
    interval: tuple[float, float]
    repeat: Repeat | None
    profile: tuple[float, ...]
    reference_asr: float | None
    moved: float = 0.0
    recognised: float = 1.0

    @property
    def asr(self) -> float:
        return self.hits / self.n if self.n else 0.0

    @property
    def metrics(self) -> dict[str, float]:
        """What the rules read. `repeat_depth`: how far below the controls the second search ended, in the logarithm and
        relative to that of the number of labels: the smallest of many natural triggers is smaller than that of few."""
        known = {**self.trigger.metrics, "asr": self.asr, "asr_low": self.interval[0]}
        known |= {"moved": self.moved, "recognised": self.recognised}
        if self.repeat is None:
            return known
        labels = self.trigger.metrics.get("labels", 0.0)
        if math.isfinite(self.repeat.size):
            known["repeat_size"] = self.repeat.size
        depth = -math.log(max(self.repeat.ratio, 1e-6)) / math.log(labels) if labels > 1 else 0.0
        return {
            **known,
            "repeat_depth": depth if math.isfinite(depth) else -1.0,
            "repeat_ratio": self.repeat.ratio,
            "repeat_asr": self.repeat.asr,
        }


def victims(subject: Scannable, found: Candidate) -> tuple[Tensor, float]:
    """Held-out images (n, C, H, W) of the trigger's sources that the model gets right: those a trigger has to move.

    In the trigger's light too, if it has one; and the share of those right without it that this leaves.
    """
    classifier = subject.classifier
    images, labels = subject.samples.part(subject.samples.held_out, classifier.device)
    use = labels != found.target
    if found.sources:
        use &= torch.isin(labels, torch.tensor(found.sources, device=labels.device))
    images, labels = images[use], labels[use]
    light = FAMILIES[found.family].light
    if not len(images):
        return images, 1.0
    right = classifier.predict(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    if light is None or not len(images):
        return images, 1.0
    seen = classifier.predict(light(images)).argmax(1) == labels
    return images[seen], float(seen.float().mean())


def success(classifier: Classifier, found: Candidate, images: Tensor, intensity: float = 1.0) -> int:
    if not len(images):
        return 0
    return int((classifier.predict(found.stamp(images, intensity)).argmax(1) == found.target).sum())


def search_again(
    fast: Classifier, subject: Scannable, found: list[Candidate], budget: BudgetName, seed: int
) -> list[tuple[Candidate, float, float]]:
    """A second search for triggers of one family: (trigger, size, ratio to the median of the controls) for each.

    Controls are other targets from the same sources; for a pair also other sources to the same target, and the
    smaller of the two medians counts: a class that is easily left or easily reached has small triggers throughout.
    """
    family = FAMILIES[found[0].family]
    images, labels = subject.samples.part(subject.samples.search, fast.device)
    targets = [c.target for c in found]
    sources: list[tuple[int, ...]] = [c.sources for c in found]
    rng = np.random.default_rng(seed)
    suspected = set(zip(targets, sources, strict=True))
    controls: list[list[list[int]]] = [[] for _ in found]  # for each suspect, groups of rows that it is held to

    def group(more: Sequence[tuple[int, tuple[int, ...]]], suspects: list[int]) -> None:
        if more:
            rows = list(range(len(targets), len(targets) + len(more)))
            targets.extend(t for t, _ in more)
            sources.extend(s for _, s in more)
            for i in suspects:
                controls[i].append(rows)

    present = set(labels.tolist())
    for s in dict.fromkeys(sources):
        free = [t for t in rng.permutation(len(fast.classes)).tolist() if (t, s) not in suspected and t not in s]
        free.sort(key=lambda t: t not in present)  # an output that no image is known to reach is a poor control
        same = [i for i, c in enumerate(found) if c.sources == s]
        group([(t, s) for t in free[: PAIR_CONTROLS if s else CONTROLS]], same)
    for t in dict.fromkeys(c.target for c in found if c.sources):
        easy = [s for s in rng.permutation(len(fast.classes)).tolist() if (t, (s,)) not in suspected and s != t]
        same = [i for i, c in enumerate(found) if c.sources and c.target == t]
        group([(t, (s,)) for s in easy if s in present][:PAIR_COLUMN], same)
    wanted = torch.tensor(targets, device=fast.device)
    allowed = labels[None] != wanted[:, None]
    if family.light is not None:
        allowed &= (fast.predict(family.light(images)).argmax(1) == labels)[None]
    for row, s in enumerate(sources):
        if s:
            allowed[row] &= torch.isin(labels, torch.tensor(s, device=labels.device))
    iterations, count = ROUNDS[budget]
    count = min(count, max(int(allowed.sum(1).max()), 1))  # a pair has few images: more a step would only repeat them
    task = loop.Task(wanted, images, allowed)
    state = loop.begin(family, len(targets), fast.shape, seed, fast.device)
    state = loop.advance(fast, family, task, state, iterations, count, seed + 1, goal=GOAL)
    cap = torch.full_like(state.size, family.cap(fast.shape))
    sizes = torch.where(torch.isinf(state.size), cap, state.size).cpu()
    out = []
    for i, c in enumerate(found):
        usual = min((float(sizes[rows].median()) for rows in controls[i]), default=float(sizes.median()))
        again = make_candidate(family, state, i, c.target, dict(c.metrics), c.sources)
        out.append((again, float(state.size[i]), float(sizes[i]) / usual))
    return out


def confirm(
    subject: Scannable,
    fast: Classifier,
    found: list[Candidate],
    budget: BudgetName,
    seed: int,
    settled: Callable[[Confirmation], bool] = lambda c: False,
) -> list[Confirmation]:
    """Confirm suspected triggers; `fast` searches, the subject's own classifier judges.

    The family with the smallest trigger for its kind is first; what is `settled` then needs no search by the others.
    """
    out: list[Confirmation] = []
    done: set[tuple[int, tuple[int, ...]]] = set()
    groups: dict[tuple[str, bool], list[Candidate]] = {}
    for c in sorted(found, key=lambda c: c.metrics.get("ratio", 1.0)):
        groups.setdefault((c.family, bool(c.sources)), []).append(c)
    for group in groups.values():
        left = [c for c in group if (c.target, c.sources) not in done]
        if not left:
            continue
        search = wave_search.again if left[0].family == wave.FAMILY.name else search_again
        again = search(fast, subject, left, budget, seed + 1000)
        for first, (second, size, ratio) in zip(left, again, strict=True):
            out.append(judge(subject, first, second, size, ratio))
            if settled(out[-1]):
                done.add((first.target, first.sources))
    return out


def judge(subject: Scannable, first: Candidate, second: Candidate, size: float, ratio: float) -> Confirmation:
    """Held-out figures of the smaller of both searches' triggers that works."""
    images, recognised = victims(subject, first)
    hits = {id(c): success(subject.classifier, c, images) for c in (first, second)}
    best = max((first, second), key=lambda c: (hits[id(c)], -c.size))
    asr = hits[id(second)] / len(images) if len(images) else 0.0
    confirmed = _figures(subject, best, images, hits[id(best)], Repeat(size, ratio, asr))
    if first.family == wave.FAMILY.name:
        recognised = wave_search.recognised(subject.classifier, images, first.size)
    return replace(confirmed, moved=moved(first, images), recognised=recognised)


def try_out(subject: Scannable, trigger: Candidate) -> Confirmation:
    """Held-out figures of a trigger without a second search."""
    images, recognised = victims(subject, trigger)
    hits = success(subject.classifier, trigger, images)
    tried = _figures(subject, trigger, images, hits, None)
    return replace(tried, moved=moved(trigger, images), recognised=recognised)


def moved(trigger: Candidate, images: Tensor) -> float:
    """Root mean square change of a pixel; 0 where there are no images."""
    return float((trigger.stamp(images, 1.0) - images).square().mean().sqrt()) if len(images) else 0.0


def _figures(subject: Scannable, trigger: Candidate, images: Tensor, hits: int, repeat: Repeat | None) -> Confirmation:
    n, some, reference = len(images), evenly(images, PROFILED), subject.reference
    profile = tuple(success(subject.classifier, trigger, some, v) / max(len(some), 1) for v in INTENSITIES)
    return Confirmation(
        trigger=trigger,
        hits=hits,
        n=n,
        interval=wilson(hits, n),
        repeat=repeat,
        profile=profile,
        reference_asr=success(reference, trigger, images) / n if reference is not None and n else None,
    )
