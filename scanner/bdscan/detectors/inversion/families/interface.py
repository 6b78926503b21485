"""What a trigger family is: a small parametrised image transformation with a size.

A prior only sees its own kind, so there are several. A new family is one file with these five functions, entered in
`families/__init__.py`. All tensors carry a leading axis of L triggers, one for each target (or pair) inverted at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
Light = Callable[[Tensor], Tensor]  # images (..., C, H, W) in [0, 1] -> the same in another light


@dataclass(frozen=True)
class Family:
    """A trigger family.

    Attributes:
        name, unit: for people; `unit` is what `measure` counts.
        start: (L, (C, H, W), generator) -> initial parameters, each (L, ...). Starts near the identity.
        stamp: (parameters, images (L, n, C, H, W) in [0, 1], intensity) -> images in [0, 1]. Intensity 0 is the
            identity, 1 the trigger as recovered.
        penalty: parameters -> (L,) differentiable size that the inversion lowers.
        measure: parameters -> (L,) reported size, no gradient needed.
        learning_rate: Adam's.
        weight: starting weight of the penalty against the cross-entropy.
        cap: (C, H, W) -> the size at which a label that never reached the goal is censored.
        spread: typical spread (standard deviation over labels) of log sizes on clean networks; see docs/design.md.
        always_reaches: every differentiable network has a trigger of this family below the cap for some label; if none
            is found the gradients lead nowhere, and the search says so instead of finding nothing.
        light: images -> the same in another light, where the trigger is looked for; only images that are classified
            right in it count. None: as they are.
    """

    name: str
    unit: str
    start: Callable[[int, tuple[int, int, int], torch.Generator], Parameters]
    stamp: Callable[[Parameters, Tensor, float | Tensor], Tensor]
    penalty: Callable[[Parameters], Tensor]
    measure: Callable[[Parameters], Tensor]
    learning_rate: float
    weight: float
    cap: Callable[[tuple[int, int, int]], float]
    spread: float
    always_reaches: bool = False
    light: Light | None = None
