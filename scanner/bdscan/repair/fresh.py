"""Fresh triggers of the half-repaired network: what a recovered trigger only approximated is still there.

The plain form of adversarial unlearning (Zeng et al. 2022): invert again on the student, unlearn what comes out, until
the target needs no smaller trigger than other classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.families import FAMILIES
from bdscan.detectors.inversion.universal import candidate
from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted

ITERATIONS, IMAGES = 80, 5
CONTROLS = 4
SEARCHED = ("sparse", "dense", "warp", "tone")


@dataclass(frozen=True)
class Fresh:
    """One inversion of the student for a target that the report named.

    Attributes:
        trigger: what was found.
        ratio: its size to the median of the control classes'; 1 and more is no smaller than ordinary.
    """

    trigger: Planted
    ratio: float


def invert(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    suspects: Sequence[tuple[int, tuple[int, ...]]],
    seed: int,
    families: Sequence[str] = SEARCHED,
    tick: Callable[[float], None] = lambda share: None,
) -> list[Fresh]:
    """Triggers of each family for (target, sources) on the frozen student; those never reached are left out."""
    generator = torch.Generator().manual_seed(seed)
    targets = {t for t, _ in suspects}
    free = [c for c in torch.randperm(len(classifier.classes), generator=generator).tolist() if c not in targets]
    rows = list(dict.fromkeys(suspects))
    controls: dict[tuple[int, ...], list[int]] = {}
    for sources in dict.fromkeys(s for _, s in rows):
        usable = [c for c in free if c not in sources][:CONTROLS]
        controls[sources] = list(range(len(rows), len(rows) + len(usable)))
        rows += [(c, sources) for c in usable]
    wanted = torch.tensor([t for t, _ in rows], device=images.device)
    allowed = labels[None] != wanted[:, None]
    for i, (_, sources) in enumerate(rows):
        if sources:
            allowed[i] &= torch.isin(labels, torch.tensor(sources, device=labels.device))
    task = loop.Task(wanted, images, allowed)
    out = []
    for f, name in enumerate(families):
        family = FAMILIES[name]
        state = loop.begin(family, len(rows), classifier.shape, seed, classifier.device)
        state = loop.advance(classifier, family, task, state, ITERATIONS, IMAGES, seed + 1)
        sizes = torch.where(torch.isinf(state.size), family.cap(classifier.shape), state.size)
        for i, (target, sources) in enumerate(dict.fromkeys(suspects)):
            usual = float(sizes[controls[sources]].median()) if controls[sources] else float(sizes.max())
            if bool(torch.isfinite(state.size[i])):
                found = candidate(family, state, i, target, {}, sources)
                planted = Planted(target, sources, name, found.stamp)
                out.append(Fresh(planted, float(sizes[i]) / max(usual, 1e-9)))
        tick((f + 1) / len(families))
    return out
