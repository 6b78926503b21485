"""Standing out: whether a small patch at a universal trigger's place carries images to its target, and to no other.

Inversion asks for the smallest change, and some classes are reached with a small one by nature: a few pixels over the
middle make a bag of many clothes. Such a trigger is spread wide. A planted patch is all there is to it: one or two
percent of the image, freely chosen at its place, carry unseen images far beyond the boundary, and to its target alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.confirmation import Confirmation
from bdscan.detectors.halves import Right, Trial, halves, reached
from bdscan.detectors.interface import Budget
from bdscan.detectors.inversion import drive
from bdscan.detectors.inversion.families import FAMILIES, lit, sparse
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.intake.classifier import Classifier, Scannable

PATCHES = frozenset({sparse.FAMILY.name, *(family.name for family in lit.FAMILIES)})
SHARES = (0.01, 0.02)  # of the image's cells; what the larger one leads by counts half
OTHERS = {"quick": 5, "standard": 9, "thorough": 9}  # targets at the same place
EACH = 12  # images that a patch is driven on
STEPS = 12


def with_leads(
    subject: Scannable,
    fast: Classifier,
    found: Sequence[Confirmation],
    budget: Budget,
    asked: Callable[[Confirmation, str], bool],
) -> list[Confirmation]:
    """The confirmations, triggers of few cells from every class with the metrics that are `asked` for, as far as they
    can be measured: `lead` of patches driven on the search half and judged on the held-out one, `other_lead` the other
    way round. `fast` searches, the subject's own classifier judges."""
    out = list(found)
    for i, c in enumerate(out):
        family = FAMILIES[c.trigger.family]
        if c.trigger.sources or family.name not in PATCHES or not asked(c, "lead"):
            continue
        one, other = halves(subject, family.light)
        for name, searched, judged in (("lead", one, other), ("other_lead", other, one)):
            led = lead(subject.classifier, fast, c.trigger, searched, judged, budget) if asked(c, name) else None
            if led is not None:
                c = replace(c, trigger=replace(c.trigger, metrics={**c.trigger.metrics, name: led}))
        out[i] = c
    return out


def lead(
    own: Classifier, fast: Classifier, trigger: Candidate, searched: Right, judged: Right, budget: Budget
) -> float | None:
    """Margin, on the `judged` images, of a patch driven at the trigger's place on the `searched` ones, above the
    largest that other targets reach there; for each hundredth of the image that the patch covers.

    In median margins of the clean searched images; of SHARES the best. None where there is nobody to hold it to, no
    image, or where an answer is not finite.
    """
    drawn = np.random.default_rng(budget.seed).permutation(len(fast.classes)).tolist()
    shown = set(searched.labels.tolist()) & set(judged.labels.tolist())
    # an output that no image is known to reach is a poor control
    others = sorted((k for k in drawn if k != trigger.target), key=lambda k: k not in shown)[: OTHERS[budget.name]]
    targets = (trigger.target, *others)
    trials = [Trial(k, _some(searched.other_than(k), budget.seed), judged.other_than(k)) for k in targets]
    if not others or not all(len(trial.images) and len(trial.judged) for trial in trials):
        return None
    change = sparse.change({k: v[None] for k, v in trigger.parameters.items()})[0]
    best = -math.inf
    for share in SHARES:
        where = drive.cells(change, share).to(fast.device)
        margins = reached(own, fast, where, trials, budget.seed, STEPS)
        led = (margins[0] - max(margins[1:])) / float(searched.margins.median())
        if not all(map(math.isfinite, (*margins, led))):
            return None
        best = max(best, led * SHARES[0] / share)
    return best


def _some(images: Tensor, seed: int) -> Tensor:
    """EACH of them, drawn by the seed; repeated where there are fewer."""
    if not len(images):
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(images.device)
    return images[order[torch.arange(EACH, device=images.device) % len(images)]]
