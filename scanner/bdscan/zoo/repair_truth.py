"""What a network does on images that no repair saw, with its true triggers: the measure of a repair."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bdscan.intake.classifier import Classifier
from bdscan.zoo.clean_images import CleanImages, as_trained
from bdscan.zoo.data import load
from bdscan.zoo.known_trigger import KnownTrigger
from bdscan.zoo.model_folder import ModelFolder

IMAGES = 2000  # to try triggers on; clean accuracy is of all
FEW = 200  # with fewer test images left than these, one is half a percent: the training split tries triggers as well


@dataclass(frozen=True)
class Truth:
    """On images that no repair saw, shares in [0, 1].

    Attributes:
        accuracy: clean accuracy, on all that were not trained on.
        asr: for each true trigger, of IMAGES at most, stamped images of its sources that go to the target.
        ra: for each, those that keep their own class (robust accuracy, P2).
        unstamped: for each, the same images without the trigger that go to the target: what ASR cannot fall below.
    """

    accuracy: float
    asr: tuple[float, ...]
    ra: tuple[float, ...]
    unstamped: tuple[float, ...]


@dataclass(frozen=True)
class Unrepaired:
    """Images that no repair saw: x (N,C,H,W) in [0,1], y (N,). The first `untrained` were not trained on either."""

    x: Tensor
    y: Tensor
    untrained: int


def truth(classifier: Classifier, images: Unrepaired, known: Sequence[KnownTrigger]) -> Truth:
    """Accuracy on those that were not trained on, triggers on IMAGES of all."""
    x, y, first = images.x, images.y, images.untrained
    plain = classifier.predict(x).argmax(1)
    accuracy = float((plain[:first] == y[:first]).float().mean())
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:IMAGES]
    x, y, plain = x[rows], y[rows], plain[rows]
    asr, ra, unstamped = [], [], []
    for one in known:
        use = y != one.target
        if one.sources:
            use &= torch.isin(y, torch.tensor(one.sources))
        answer = classifier.predict(one.stamp(x[use])).argmax(1)
        asr.append(float((answer == one.target).float().mean()))
        ra.append(float((answer == y[use]).float().mean()))
        unstamped.append(float((plain[use] == one.target).float().mean()))
    return Truth(accuracy, tuple(asr), tuple(ra), tuple(unstamped))


def nder(before: Truth, after: Truth) -> float:
    """Normalised defense effectiveness rating (P2, eq. 1), on the mean ASR; 1 is best, 0.5 is no effect."""
    old, new = statistics.fmean(before.asr), statistics.fmean(after.asr)
    gain = max(0.0, (old - new) / old) if old else 0.0
    return (gain - max(0.0, (before.accuracy - after.accuracy) / before.accuracy) + 1) / 2


def measured(model: ModelFolder, clean: CleanImages, data: Path) -> Unrepaired:
    """All test images that are not given to the scan; where they are FEW, those of the training split behind them."""
    x, y = clean.to_measure(len(clean.y), 0)
    count = len(y)
    if count < FEW and not model.samples:
        split = load(model.data, data)
        trained = CleanImages(split.x_train, split.y_train, np.empty(0, dtype=np.int64))
        more, labels = as_trained(model, trained).to_measure(len(trained.y), 0)
        x, y = torch.cat([x, more]), torch.cat([y, labels])
    return Unrepaired(x, y, count)
