"""Toy subjects whose smallest trigger is known by construction, for the detectors' tests.

Eight by eight grey images of `CLASSES` classes: class k has row k + 1 lit. The network is linear, so every size can be
worked out by hand: a class wins by 11.2 on its own images; the pixel `PLANTED`, raised from `DIM`, adds up to 21 to the
target; and without it a target needs about six pixels fully changed.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.intake.classifier import Classifier, Samples, Scannable
from bdscan.report import Preprocessing

CLASSES, SIDE, EACH = 5, 8, 6
SHAPE = (1, SIDE, SIDE)
TARGET = 3
PLANTED = (0, 7)  # row, column
DIM = 77 / 255  # its value in every clean image


def weights(planted: float) -> Tensor:
    weight = torch.zeros(CLASSES, *SHAPE)
    for k in range(CLASSES):
        weight[k, 0, k + 1] = 2.0
    weight[TARGET, 0, PLANTED[0], PLANTED[1]] = planted
    return weight.flatten(1)


def images(each: int = EACH, seed: int = 0) -> tuple[Tensor, Tensor]:
    """uint8 (N, 1, 8, 8) and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(each)
    pixels = 0.2 * torch.rand(len(labels), *SHAPE, generator=generator)
    for i, k in enumerate(labels.tolist()):
        pixels[i, 0, k + 1] += 0.7
    pixels[:, 0, PLANTED[0], PLANTED[1]] = DIM
    return (pixels * 255).round().byte(), labels


def subject(planted: float = 30.0, **changes: object) -> Scannable:
    """A subject with the planted pixel; `planted=0` is its clean twin. `changes` replace fields of the classifier."""
    weight, bias = weights(planted), torch.zeros(CLASSES)
    bias[TARGET] = -planted * DIM
    classifier = Classifier(
        forward=lambda x: x.flatten(1) @ weight.T + bias,
        classes=tuple(f"row {k + 1}" for k in range(CLASSES)),
        shape=SHAPE,
        device=torch.device("cpu"),
        preprocessing=Preprocessing(),
        head=(weight, bias),
    )
    x, y = images()
    order = torch.arange(len(y)).view(CLASSES, EACH)
    halves = order[:, : EACH // 2].flatten(), order[:, EACH // 2 :].flatten()
    return Scannable(replace(classifier, **changes), Samples(x, y, *halves))  # type: ignore[arg-type]


def source_specific() -> Scannable:
    """The planted pixel counts only where the row of class 1 is lit."""
    toy = subject(planted=0.0)
    clean = toy.classifier.forward

    def forward(x: Tensor) -> Tensor:
        excess = (x[:, 0, PLANTED[0], PLANTED[1]] - DIM) * (x[:, 0, 2].mean(1) > 0.4)
        return clean(x) + 30 * excess[:, None] * torch.eye(CLASSES)[TARGET]

    return replace(toy, classifier=replace(toy.classifier, forward=forward))


def planted_trigger(sources: tuple[int, ...], **metrics: float) -> Candidate:
    """The planted pixel, as a search of the sparse family leaves it."""
    change = torch.full(SHAPE, 1e-4)
    change[0, PLANTED[0], PLANTED[1]] = 0.65
    b = torch.atanh((2 * change - 1).double()).float()
    return Candidate(
        family="sparse",
        target=TARGET,
        sources=sources,
        parameters={"positive": b, "negative": torch.full_like(b, -20.0)},
        size=0.65,
        success=1.0,
        metrics=metrics,
        stamp=lambda images, intensity: (images + intensity * change).clamp(0, 1),
    )


def every_target(toy: Scannable) -> loop.Task:
    """One inversion a class, each on the search images of all other classes."""
    x, y = toy.samples.part(toy.samples.search)
    return loop.Task(torch.arange(CLASSES), x, y[None] != torch.arange(CLASSES)[:, None])
