"""Universal inversion: one trigger for each target class, from all other classes, in one trigger family.

All labels are inverted in one batch for a first rung; the smallest triggers go on (successive halving). The anomaly
index and the ratio to the median are taken at the rung that all labels reached; confirmation has controls of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.common import bars, label_of
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.families.interface import Family
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.robust import Array, classic_index, critical_index, moderated_index
from bdscan.intake.classifier import Scannable
from bdscan.report import Label, Statistic

# Many steps on few images: at the same cost planted triggers end smaller and clean labels alike (docs/design.md).
FIRST = {"quick": (50, 3), "standard": (100, 3), "thorough": (300, 10)}  # iterations, images a step and label
RANK = (25, 3)
LIT = {"quick": (40, 3), "standard": (60, 3), "thorough": (200, 8)}  # in another light, where nothing goes on after it
SEEN = 0.5  # share of the images classified right as they are that must be right in another light too
SECOND = {"quick": (20, 8), "standard": (30, 10), "thorough": (200, 32)}
KEEP = 3
MANY = 100  # classes beyond which only ranked labels and random controls are inverted
SOME = {"quick": 12, "standard": 16, "thorough": 16}  # then half of them ranked, half controls
FEW = 4  # labels of a stage that only refines: ranked ones and as many controls


@dataclass(frozen=True)
class Sizes:
    """Trigger sizes over the labels that were inverted.

    Attributes:
        labels: target classes (L,).
        sizes: (L,) at the common rung; the family's cap where the goal was never reached.
        censored: bool (L,), the goal was never reached.
        log: natural logarithms of the sizes.
        index: moderated anomaly index on log sizes (L,).
        classic: Neural Cleanse's index on the sizes (L,).
    """

    labels: list[int]
    sizes: Array
    censored: list[bool]
    log: Array
    index: Array
    classic: Array

    @property
    def ratios(self) -> Array:
        return np.asarray(self.sizes / np.median(self.sizes))


def universal_task(images: Tensor, labels: Tensor, targets: list[int]) -> loop.Task:
    """For each target, all images of other classes."""
    wanted = torch.tensor(targets, device=images.device)
    return loop.Task(wanted, images, labels[None] != wanted[:, None])


def choose_labels(
    classes: int, ranking: tuple[int, ...], present: frozenset[int], budget: Budget, few: bool = False
) -> list[int]:
    """All labels; for very many classes, or where `few` are wanted, the ranked ones and random controls.

    Controls are classes that have samples (`present`) as long as there are any: an output that no image is known to
    reach may be far for reasons of its own, and everything would look close beside it.
    """
    if classes <= (FEW if few else MANY):
        return list(range(classes))
    wanted = FEW if few else SOME[budget.name]
    first = list(ranking[: wanted // 2])
    order = np.random.default_rng(budget.seed).permutation(classes).tolist()
    rest = sorted((i for i in order if i not in first), key=lambda i: i not in present)
    return sorted(first + rest[: wanted - len(first)])


def compare(state: loop.State, labels: list[int], family: Family, shape: tuple[int, int, int]) -> Sizes:
    never = torch.isinf(state.size)
    sizes = torch.where(never, torch.full_like(state.size, family.cap(shape)), state.size)
    values = sizes.cpu().double().clamp(min=1e-6, max=family.cap(shape)).numpy()
    log = np.log(values)
    return Sizes(labels, values, never.tolist(), log, moderated_index(log, family.spread), classic_index(values))


def candidate(
    family: Family,
    state: loop.State,
    row: int,
    target: int,
    metrics: dict[str, float],
    sources: tuple[int, ...] = (),
    mask: Tensor | None = None,
) -> Candidate:
    """The best trigger of one row; the current one where the goal was never reached.

    A mask (1, H, W) that constrained the search becomes one of the parameters.
    """
    found = bool(torch.isfinite(state.size[row]))
    chosen = state.best if found else state.parameters
    parameters = {k: v[row].detach().float().cpu() for k, v in chosen.items()}
    size = float(family.measure({k: v[None] for k, v in parameters.items()})[0])

    within = None if mask is None else mask.cpu()

    def stamp(images: Tensor, intensity: float) -> Tensor:
        with torch.no_grad():
            batch = {k: v[None].to(images.device) for k, v in parameters.items()}
            stamped = family.stamp(batch, images[None], intensity)[0]
            return stamped if within is None else images + within.to(images.device) * (stamped - images)

    shown = parameters if within is None else {**parameters, "mask": within}
    success = float(state.success[row] if found else state.reached[row])
    return Candidate(family.name, target, sources, shown, size, success, {**metrics, "size": size}, stamp)


def metrics(sizes: Sizes, row: int) -> dict[str, float]:
    """What the rules read of one label: index, ratio to the median, and ratio to the next larger trigger."""
    larger = sizes.sizes[sizes.sizes > sizes.sizes[row]]
    return {
        "index": float(sizes.index[row]),
        "ratio": float(sizes.ratios[row]),
        "gap": float(sizes.sizes[row] / larger.min()) if len(larger) else 1.0,
        "classic_index": float(sizes.classic[row]),
        "critical": critical_index(len(sizes.labels)),
        "labels": float(len(sizes.labels)),
    }


def size_statistics(subject: Scannable, detector: str, sizes: Sizes) -> tuple[Statistic, ...]:
    """Index, ratio and classic index of the three smallest labels."""
    out = []
    order = sizes.log.argsort(kind="stable")
    name = detector.split(".")[-1]
    for i in order[:KEEP]:
        target: Label = label_of(subject, sizes.labels[int(i)])
        values = {
            "index": (sizes.index[i], "anomaly index on log sizes, moderated spread"),
            "ratio": (sizes.ratios[i], "size as a share of the median over labels"),
            "classic_index": (sizes.classic[i], "Neural Cleanse's anomaly index on sizes"),
        }
        out += [
            Statistic(name=f"{name}.{key}", detector=detector, value=float(v), target=target, description=text)
            for key, (v, text) in values.items()
        ]
    return tuple(out)


@dataclass(frozen=True)
class UniversalInversion:
    """The detector of one trigger family.

    `masked` constrains the trigger to the DMS mask and `drawn` makes it work over a range of intensities; both run on
    the ranked labels and as many controls only, since they refine what a plain inversion found. `ranks` makes a
    short run that leaves scores and no candidates.
    """

    family: Family
    about: About
    masked: bool = False
    drawn: tuple[float, float] | None = None
    ranks: bool = False

    def run(self, subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
        classifier, family = subject.classifier, self.family
        if not classifier.differentiable:
            return CouldNotRun("the model has no input gradients")
        images, truth = subject.samples.part(subject.samples.search, classifier.device)
        if self.masked and hints.mask is None:
            return CouldNotRun("no DMS mask: the sensitivity stage did not run")
        mask = hints.mask.to(classifier.device) if self.masked and hints.mask is not None else None
        few_labels = self.masked or self.drawn is not None
        if self.ranks and len(classifier.classes) > MANY:
            return CouldNotRun(f"more than {MANY} classes: too many to rank by inversion")
        present = frozenset(truth.tolist())
        labels = choose_labels(len(classifier.classes), hints.ranking, present, budget, few=few_labels)
        task = universal_task(images, truth, labels)
        if family.light is not None:
            if hints.planted:
                return CouldNotRun("a universal trigger has been confirmed already")
            seen = classifier.predict(family.light(images)).argmax(1) == truth
            if seen.sum() < SEEN * (classifier.predict(images).argmax(1) == truth).sum():
                return CouldNotRun("the model recognises too few of the samples in this light")
            task = replace(task, allowed=task.allowed & seen[None])
        if not bool(task.allowed.any(1).all()):
            return CouldNotRun("the search images are all of one class")
        (first, few), (second, more) = FIRST[budget.name], SECOND[budget.name]
        if self.ranks:
            first, few = RANK
        elif family.light is not None:
            first, few = LIT[budget.name]
            second = 0
        elif few_labels:  # what they refine has been found, and they decide nothing
            first, second = first // 2, second // 2
        later_work = 0 if self.ranks else second * more * min(len(labels), KEEP)
        work = first * few * len(labels) + later_work
        done = [0]

        def tick(cost: int) -> None:
            done[0] += cost
            progress(done[0] / work)

        state = loop.begin(family, len(labels), classifier.shape, budget.seed, classifier.device)
        state = loop.advance(
            classifier,
            family,
            task,
            state,
            first,
            few,
            budget.seed + 1,
            mask=mask,
            drawn=self.drawn,
            tick=lambda: tick(few * len(labels)),
        )
        sizes = compare(state, labels, family, classifier.shape)
        if family.always_reaches and all(sizes.censored) and not (self.ranks or self.masked):
            return CouldNotRun("no label was reached at all; the model's gradients may be masked")
        order = sizes.log.argsort(kind="stable")
        keep = [] if self.ranks else [int(i) for i in order[:KEEP]]
        rows = torch.tensor(keep, dtype=torch.long, device=classifier.device)
        later = loop.advance(
            classifier,
            family,
            task.only(rows),
            state.only(rows),
            second if keep else 0,
            more,
            budget.seed + 2,
            mask=mask,
            drawn=self.drawn,
            tick=lambda: tick(more * len(keep)),
        )
        found = tuple(
            candidate(family, later, i, labels[row], metrics(sizes, row), mask=mask) for i, row in enumerate(keep)
        )
        return Measurement(
            statistics=size_statistics(subject, self.about.name, sizes),
            evidence=(
                bars(
                    subject,
                    f"Trigger size by target class ({family.name})",
                    family.unit,
                    [float(v) for v in sizes.sizes],
                    labels=labels,
                    highlighted=[labels[int(order[0])]],
                    reference=float(np.median(sizes.sizes)),
                    censored=sizes.censored,
                    log_scale=True,
                ),
            ),
            summary=(
                f"smallest trigger: class {labels[int(order[0])]}, {sizes.ratios[order[0]]:.2f} of the median"
                f" (index {sizes.index[order[0]]:.1f})"
            ),
            scores={label: float(v) for label, v in zip(labels, sizes.index, strict=True)},
            candidates=found,
        )
