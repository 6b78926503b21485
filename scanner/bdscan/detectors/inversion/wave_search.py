"""Sine waves of many directions, tried on clean images without gradients: one forward pass serves all labels.

The dense family needs hundreds of steps to find a wave, and on networks that are easily disturbed it finds something
smaller that is none. Few waves are to be told apart, so they are all tried: a network that learned one as a trigger
sends nearly all images to one class at an amplitude where other classes get next to none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.common import evenly
from bdscan.detectors.interface import BudgetName
from bdscan.detectors.inversion.families.interface import Parameters
from bdscan.detectors.inversion.families.wave import FAMILY, LARGEST
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.inversion.universal import Sizes
from bdscan.detectors.robust import classic_index, moderated_index
from bdscan.intake.classifier import Classifier, Scannable

STRAIGHT = range(1, 9)  # cycles per image along one axis
SLANTED = range(1, 6)  # along both
PHASES = 4
SCREEN = 32 / 255
SCREENED = {"quick": 8, "standard": 12, "thorough": 24}  # images for each wave
WORTH = 0.4  # success in the screen from which a class is looked at closely
MOST, BEST = 6, 3  # classes looked at, and waves for each
AMPLITUDES = tuple(i / 255 for i in range(4, 65, 4))
COARSE = 4  # amplitudes at once until the goal is near
IMAGES = {"quick": 24, "standard": 40, "thorough": 80}
GOAL = 0.75
CHUNK = 256


@dataclass(frozen=True)
class Found:
    """The smallest amplitude at which some wave reaches the goal, for every label.

    Attributes:
        size: (K,), LARGEST where none does.
        waves: each label's best wave, parameters (K, ...), at that amplitude.
        success: (K,) its success there on the search images.
    """

    size: Tensor
    waves: Parameters
    success: Tensor


def dictionary(side: int, shift: float) -> Parameters:
    """All waves at amplitude one that have four pixels a cycle on images of `side`; `shift` moves phases (turns)."""
    cycles = [(f, 0) for f in STRAIGHT] + [(0, f) for f in STRAIGHT] + [(f, s * f) for f in SLANTED for s in (1, -1)]
    rows = [(*c, (p / PHASES + shift) % 1.0) for c in cycles if max(c) <= side / 4 for p in range(PHASES)]
    table = torch.tensor(rows)
    return {"amplitude": torch.ones(len(rows)), "cycles": table[:, :2], "phase": table[:, 2]}


def at(waves: Parameters, rows: Tensor, amplitude: float) -> Parameters:
    return {k: v[rows] * (amplitude if k == "amplitude" else 1.0) for k, v in waves.items()}


@torch.no_grad()
def predictions(classifier: Classifier, waves: Parameters, images: Tensor) -> Tensor:
    """Predicted classes (waves, images)."""
    out = []
    step = max(1, CHUNK // len(images))
    for low in range(0, len(waves["phase"]), step):
        part = {k: v[low : low + step].to(images.device) for k, v in waves.items()}
        stamped = FAMILY.stamp(part, images[None], 1.0)
        out.append(classifier.predict(stamped.flatten(0, 1)).argmax(1).view(-1, len(images)).cpu())
    return torch.cat(out)


def recognised(classifier: Classifier, images: Tensor, amplitude: float) -> float:
    """Share of the images (N, C, H, W) that keep their class under a wave of this amplitude: the median over waves.

    A network that any wave confuses falls to some class under one of them by nature. 1 where there are no images.
    """
    few = evenly(images, SCREENED["thorough"])
    if not len(few):
        return 1.0
    waves = dictionary(min(classifier.shape[1:]), 0.0)
    one_phase = torch.arange(0, len(waves["phase"]), PHASES)
    before = classifier.predict(few).argmax(1).cpu()
    after = predictions(classifier, at(waves, one_phase, amplitude), few)
    return float((after == before).float().mean(1).median())


def success(predicted: Tensor, truth: Tensor, target: int) -> Tensor:
    """Share of the images of other classes that each wave sends to the target (waves,)."""
    others = truth.cpu() != target
    return (predicted[:, others] == target).float().mean(1) if others.any() else torch.zeros(len(predicted))


def search(classifier: Classifier, images: Tensor, truth: Tensor, budget: BudgetName, seed: int) -> Found:
    """Screen all waves at one amplitude on a few images, then follow the best ones of the likely classes down."""
    classes = len(classifier.classes)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    few = order[: SCREENED[budget]]
    waves = dictionary(min(classifier.shape[1:]), float(torch.rand(1, generator=generator)) / PHASES)
    everything = torch.arange(len(waves["phase"]))
    seen = predictions(classifier, at(waves, everything, SCREEN), images[few])
    hit = torch.unique(seen).tolist()
    rates = {t: success(seen, truth[few], t) for t in hit}
    likely = sorted((t for t in hit if rates[t].max() >= WORTH), key=lambda t: (-float(rates[t].max()), t))[:MOST]
    size = torch.full((classes,), LARGEST)
    reached = torch.tensor([float(rates[t].max()) if t in rates else 0.0 for t in range(classes)])
    best = torch.zeros(classes, dtype=torch.long)
    more = order[: IMAGES[budget]]
    for t in likely:
        rows = rates[t].argsort(descending=True, stable=True)[:BEST]
        below, start = torch.zeros(len(rows)), 0
        for stop in range(COARSE - 1, len(AMPLITUDES), COARSE):  # by large steps to the goal, then by small ones
            now = success(predictions(classifier, at(waves, rows, AMPLITUDES[stop]), images[more]), truth[more], t)
            if bool((now >= GOAL).any()):
                break
            below, start = now, stop + 1
        for i in range(start, min(start + COARSE, len(AMPLITUDES))):
            amplitude = AMPLITUDES[i]
            now = success(predictions(classifier, at(waves, rows, amplitude), images[more]), truth[more], t)
            if bool((now >= GOAL).any()):
                step = amplitude - (AMPLITUDES[i - 1] if i else 0.0)
                crossing = amplitude - step * (now - GOAL) / (now - below).clamp(min=1e-6)
                crossing[now < GOAL] = LARGEST
                first = int(crossing.argmin())
                size[t], best[t], reached[t] = crossing[first], rows[first], now[first]
                break
            below = now
    waves = at(waves, best, 1.0)
    return Found(size, {**waves, "amplitude": size.clone()}, reached)


def sizes_of(found: Found) -> Sizes:
    values = found.size.double().numpy()
    log = np.log(values)
    censored = (found.size >= LARGEST).tolist()
    return Sizes(
        list(range(len(values))), values, censored, log, moderated_index(log, FAMILY.spread), classic_index(values)
    )


def candidate(found: Found, target: int, values: dict[str, float]) -> Candidate:
    """The label's wave, a little above the amplitude that just reaches the goal."""
    amplitude = min(1.25 * float(found.size[target]), LARGEST)
    parameters = {k: v[target].clone() for k, v in found.waves.items()}
    parameters["amplitude"] = torch.tensor(amplitude)

    def stamp(images: Tensor, intensity: float) -> Tensor:
        batch = {k: v[None].to(images.device) for k, v in parameters.items()}
        return FAMILY.stamp(batch, images[None], intensity)[0]

    return Candidate(FAMILY.name, target, (), parameters, amplitude, float(found.success[target]), values, stamp)


def again(
    fast: Classifier, subject: Scannable, suspects: list[Candidate], budget: BudgetName, seed: int
) -> list[tuple[Candidate, float, float]]:
    """The second search: other phases, other images first; every other label is a control."""
    images, truth = subject.samples.part(subject.samples.search, fast.device)
    right = fast.predict(images).argmax(1) == truth
    found = search(fast, images[right], truth[right], budget, seed)
    targets = {c.target for c in suspects}
    others = torch.tensor([i not in targets for i in range(len(found.size))])
    usual = float(found.size[others].median()) if others.any() else LARGEST
    out = []
    for c in suspects:
        size = float(found.size[c.target])
        repeated = replace(candidate(found, c.target, dict(c.metrics)), sources=c.sources)
        out.append((repeated, size if size < LARGEST else float("inf"), size / usual))
    return out
