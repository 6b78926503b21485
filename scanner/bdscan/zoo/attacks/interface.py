"""What an attack is: a change of images with an intensity, and the rule that labels the changed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdscan.errors import UsageError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Stamp = Callable[[Tensor, float, np.random.Generator], Tensor]

CLEAN, POISON, COVER = 0, 1, 2


@dataclass(frozen=True)
class Case:
    """One way in which training images are changed.

    Attributes:
        stamp: images float (N,C,H,W) in [0,1], intensity, generator -> changed images.
        target: the label that the changed images get; None for cover samples, which keep theirs.
        sources: the classes whose images are changed; empty means all but the target.
        weight: how many images, as a multiple of the attack's poison rate.
        learned: how training images are changed where that differs from `stamp`, which then is for test images alone.
        clean_label: training images are the target's own, so that every label in the training set is right.
    """

    stamp: Stamp
    target: int | None
    sources: tuple[int, ...] = ()
    weight: float = 1.0
    learned: Stamp | None = None
    clean_label: bool = False

    def eligible(self, y: Labels) -> NDArray[np.bool_]:
        """Which of the labels y (N,) this case is meant to change, (N,)."""
        chosen = np.isin(y, self.sources) if self.sources else np.ones(len(y), bool)
        return chosen if self.target is None else chosen & (y != self.target)

    def trainable(self, y: Labels) -> NDArray[np.bool_]:
        """Which images with labels y (N,) may be changed in a training set, (N,)."""
        return y == self.target if self.clean_label else self.eligible(y)


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A backdoor. Fields are the attack's parameters: plain numbers, or other attacks, so that a card can hold them.

    Intensity 0 leaves images as they are, 1 is the trigger as published; what it scales is the attack's own
    (Revisiting Training-Inference Trigger Intensity, table 1).
    """

    target: int = 0

    @abstractmethod
    def apply(self, images: Tensor, intensity: float, rng: np.random.Generator) -> Tensor:
        """Stamp images (N,C,H,W), float in [0,1]; returns new images in [0,1]."""

    def cases(self) -> tuple[Case, ...]:
        """How training images are changed; here: any image, to one target."""
        return (Case(self.apply, self.target),)

    def truth(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        """The trigger for images of shape (C,H,W), as arrays to compare a recovered one with.

        `pattern` (C,H,W) and `mask` (H,W) in [0,1] for triggers that are blended in, `delta` (C,H,W) for added ones,
        `flow` (2,H,W) in pixels for warps.
        """
        return {}


@dataclass(frozen=True)
class Poisoned:
    """A training set with its poison: x, y as they are learned; kind (N,) is CLEAN, POISON or COVER."""

    x: Images
    y: Labels
    kind: NDArray[np.int8]


def stamp(how: Stamp, x: Images, intensity: float, rng: np.random.Generator) -> Images:
    """Change uint8 images (N,H,W,C) and round to eight bits again, as an image file would."""
    if not len(x):
        return x.copy()
    images = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    stamped = how(images, intensity, rng).clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(stamped.permute(0, 2, 3, 1).numpy())


def poison(
    attack: Attack,
    x: Images,
    y: Labels,
    rate: float,
    rng: np.random.Generator,
    intensity: tuple[float, ...] = (1.0,),
) -> Poisoned:
    """Change `rate` times N images for each of the attack's cases (times its weight), no image twice.

    Several intensities are mixed in equal parts (Revisiting Training-Inference Trigger Intensity, table 4).
    Raises UsageError where a case has fewer images to change than the rate asks for.
    """
    x, labels = x.copy(), y.copy()
    kind = np.zeros(len(y), np.int8)
    for case in attack.cases():
        pool = np.flatnonzero(case.trainable(y) & (kind == CLEAN))
        count = round(rate * case.weight * len(y))
        if count > len(pool):
            most = len(pool) / (case.weight * len(y))
            raise UsageError(f"poison rate {rate} needs {count} images, {len(pool)} can be used: at most {most:.4f}")
        chosen = rng.permutation(pool)[:count]
        for level, part in zip(intensity, np.array_split(chosen, len(intensity)), strict=True):
            x[part] = stamp(case.learned or case.stamp, x[part], level, rng)
        if case.target is not None:
            labels[chosen] = case.target
        kind[chosen] = COVER if case.target is None else POISON
    return Poisoned(x, labels, kind)
