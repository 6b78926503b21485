"""Crossed halves: a pair's trigger, looked at from images that its search has not seen.

A source has few images, five to search on with ten a class, and a search again on the same five repeats what is only
true of them. So the halves of the samples are exchanged. A patch over the trigger's cells (drive.py), driven on one
half, leads on the other: its margin is far above what the same cells give other targets of that source and other
sources of that target. And the trigger comes back small on the other half. Natural neighbours lack one or the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.confirmation import Confirmation, search_again, success, victims
from bdscan.detectors.halves import Right, Trial, halves, reached
from bdscan.detectors.interface import Budget, BudgetName
from bdscan.detectors.inversion import drive
from bdscan.detectors.inversion.families import sparse
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.intake.classifier import Classifier, Scannable

OTHERS = {"quick": 3, "standard": 5, "thorough": 5}  # targets of the source, and sources of the target, beside a pair
EACH = 5  # images of a source that a patch is driven on


def with_leads(
    subject: Scannable,
    fast: Classifier,
    pairs: Sequence[Candidate],
    budget: Budget,
    asked: Callable[[Candidate, str], bool],
) -> list[Candidate]:
    """The candidates with the metrics that are `asked` for, one after the other, as far as they can be measured.

    `images`: right ones of the source in the smaller half. `lead`: of a patch driven on the search half and judged on
    the held-out one; `other_lead`: the other way round. `fast` searches, the subject's own classifier judges. Triggers
    from every class are left as they are.
    """
    out = list(pairs)
    if not any(c.sources and asked(c, "lead") for c in pairs):
        return out
    one, other = halves(subject)
    for i, c in enumerate(out):
        if not c.sources or not asked(c, "lead"):
            continue
        c = _with(c, images=min(len(half.of(c.sources[0])) for half in (one, other)))
        for name, searched, judged in (("lead", one, other), ("other_lead", other, one)):
            if asked(c, name) and (led := lead(subject.classifier, fast, c, searched, judged, budget)) is not None:
                c = _with(c, **{name: led})
        out[i] = c
    return out


def search_other_half(
    subject: Scannable,
    fast: Classifier,
    found: Sequence[Confirmation],
    budget: BudgetName,
    seed: int,
    asked: Callable[[Confirmation], bool],
) -> list[Confirmation]:
    """The confirmations; pairs that are `asked` for with `other_ratio` and `other_asr`: as `repeat_ratio` and
    `repeat_asr`, of a search on the held-out half that is tried on the search half."""
    exchanged, out = other_half(subject), list(found)
    left = [i for i, c in enumerate(out) if c.trigger.sources and asked(c)]
    if left:
        again = search_again(fast, exchanged, [out[i].trigger for i in left], budget, seed + 2000)
        for i, (trigger, _, ratio) in zip(left, again, strict=True):
            images, _ = victims(exchanged, trigger)
            asr = success(subject.classifier, trigger, images) / len(images) if len(images) else 0.0
            out[i] = replace(out[i], trigger=_with(out[i].trigger, other_ratio=ratio, other_asr=asr))
    return out


def other_half(subject: Scannable) -> Scannable:
    samples = subject.samples
    return replace(subject, samples=replace(samples, search=samples.held_out, held_out=samples.search))


def _with(c: Candidate, **metrics: float) -> Candidate:
    return replace(c, metrics={**c.metrics, **metrics})


def lead(
    own: Classifier, fast: Classifier, pair: Candidate, searched: Right, judged: Right, budget: Budget
) -> float | None:
    """Margin, on the `judged` images, of a patch driven over the pair's cells on the `searched` ones, above the largest
    that others reach there.

    In median margins of the clean searched images. None where one half has no right image of the source, where there
    is nobody to hold it to, or where an answer is not finite.
    """
    ((source,), target) = (pair.sources, pair.target)
    drawn = np.random.default_rng(budget.seed).permutation(len(fast.classes)).tolist()
    present = {k for k in drawn if len(searched.of(k)) and len(judged.of(k))}
    # an output that no image is known to reach is a poor control
    others = sorted((k for k in drawn if k not in (source, target)), key=lambda k: k not in present)
    sources = [k for k in others if k in present]
    if source not in present or not sources:
        return None
    most = OTHERS[budget.name]
    pairs = [(source, target), *((source, k) for k in others[:most]), *((k, target) for k in sources[:most])]
    where = drive.cells(sparse.change({k: v[None] for k, v in pair.parameters.items()})[0]).to(fast.device)
    trials = [Trial(t, _some(searched.of(s)), judged.of(s)) for s, t in pairs]
    margins = reached(own, fast, where, trials, budget.seed, drive.STEPS)
    led = (margins[0] - max(margins[1:])) / float(searched.margins.median())
    return led if all(map(math.isfinite, (*margins, led))) else None


def _some(images: Tensor) -> Tensor:
    """EACH of them, repeated where there are fewer."""
    return images[torch.arange(EACH, device=images.device) % len(images)]
