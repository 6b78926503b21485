"""The methods of P4's tables II, IV, V and VI and the whole scan, from one network to what each says of every class.

All get the same ten clean images a class; all but the scan search with all of them. Bounds of the work, so that no
method takes much longer than six minutes for 43 classes on one core, are in the methods' own files, NC's here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bdscan import api
from bdscan.detectors import sensitivity, steps
from bdscan.detectors.interface import Budget, BudgetName, Hints
from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.families import FAMILIES
from bdscan.detectors.inversion.restore import stamp_from_parameters
from bdscan.detectors.inversion.universal import FIRST, candidate, universal_task
from bdscan.detectors.robust import Array, classic_index
from bdscan.errors import CannotJudge
from bdscan.intake.classifier import Scannable
from bdscan.intake.speed import fast
from bdscan.settings import Settings
from bdscan.zoo import fidelity
from bdscan.zoo.baselines import feature_re, gangsweep, mesa, neural_cleanse
from bdscan.zoo.baselines.per_class import PerClass, floats

NC_WORK = (200, 8)  # iterations, images a step and label
BUDGET: BudgetName = "standard"  # of Steps and DMS, as a scan's

Method = Callable[[Scannable, Settings], PerClass]  # the loaded network, and the settings that loaded it


def whole(subject: Scannable) -> Scannable:
    """The subject's faster twin, with every image in the search part."""
    samples = replace(subject.samples, search=torch.arange(len(subject.samples.labels)))
    return Scannable(fast(subject.classifier), samples, subject.reference)


def _searched(subject: Scannable) -> tuple[Tensor, Tensor]:
    return subject.samples.part(subject.samples.search, subject.classifier.device)


def cleanse(subject: Scannable, settings: Settings) -> PerClass:
    """Neural Cleanse: every label below the median whose anomaly index is above 2."""
    images, labels = _searched(subject)
    iterations, per_step = NC_WORK
    found = neural_cleanse.inverted(
        subject.classifier, images, labels, iterations=iterations, per_step=per_step, seed=settings.seed
    )
    index = classic_index(found.sizes)
    return PerClass(
        scores=floats(index.tolist()),
        flagged=frozenset(np.flatnonzero(index > neural_cleanse.ALARM).tolist()),
        stamps={k: partial(found.stamp, k) for k in range(len(index))},
        details={"size": floats(found.sizes.tolist())},
    )


def gang_sweep(subject: Scannable, settings: Settings) -> PerClass:
    if subject.classifier.features is None:
        raise CannotJudge("the network has no last linear layer that can be reached")
    return gangsweep.invert(subject.classifier, *_searched(subject), seed=settings.seed)


def mesa_patches(subject: Scannable, settings: Settings) -> PerClass:
    return mesa.invert(subject.classifier, *_searched(subject), seed=settings.seed)


def feature_space(subject: Scannable, settings: Settings) -> PerClass:
    if subject.classifier.features is None or subject.classifier.head is None:
        raise CannotJudge("the network has no last linear layer that can be reached")
    return feature_re.invert(subject.classifier, *_searched(subject), seed=settings.seed)


def mutation(subject: Scannable, settings: Settings) -> PerClass:
    """Steps; it names classes and makes no trigger for one, so it is in tables II and VI alone."""
    return _pointed_at(lead(subject, None))


def sliced(subject: Scannable, settings: Settings) -> PerClass:
    """DMS-Steps: Steps inside the mask names the classes, P1's inversion inside the mask makes each one's trigger."""
    measured = sensitivity.run(subject, Budget(BUDGET, settings.seed), Hints(), lambda share: None)
    mask = getattr(measured, "mask", None)
    if mask is None:
        raise CannotJudge("no DMS mask: the images are too small for a map")
    classifier, family = subject.classifier, FAMILIES["sparse"]
    classes = list(range(len(classifier.classes)))
    iterations, per_step = FIRST[BUDGET]
    state = loop.advance(
        classifier,
        family,
        universal_task(*_searched(subject), classes),
        loop.begin(family, len(classes), classifier.shape, settings.seed, classifier.device),
        iterations,
        per_step,
        settings.seed + 1,
        mask=mask,
    )
    made = [candidate(family, state, k, k, {}, mask=mask) for k in classes]
    stamps = {one.target: partial(_at_full, one.stamp) for one in made}
    return replace(_pointed_at(lead(subject, mask)), stamps=stamps)


def whole_scan(subject: Scannable, settings: Settings) -> PerClass:
    """`bdscan scan` in its worker: the targets of findings that alarm, with the triggers that the report shows.

    It keeps half of the images to confirm what it found on the others. A flagged class has the report's score.
    """
    report = api.run(settings)
    alarms = {one.target.index for one in report.findings if one.target is not None and not one.weakness}
    classes = range(len(subject.classifier.classes))
    shown = {k: trigger for k in alarms if (trigger := fidelity.found_trigger(report, k)) is not None}
    return PerClass(
        scores=floats([report.score or 0.0 if k in alarms else 0.0 for k in classes]),
        flagged=frozenset(alarms),
        stamps={k: partial(_at_full, stamp_from_parameters(trigger)) for k, trigger in shown.items()},
    )


def _at_full(stamp: Callable[[Tensor, float], Tensor], images: Tensor) -> Tensor:
    return stamp(images, 1.0)


def lead(subject: Scannable, mask: Tensor | None) -> Array:
    """P4's table Lead (K,K) of first flips."""
    rounds = steps.ROUNDS[BUDGET]
    sources, first, landed = steps.mutate(subject, rounds, mask=mask)
    if not len(sources):
        raise CannotJudge("no clean image is classified correctly")
    return steps.lead(sources, first, landed, len(subject.classifier.classes), rounds)


def _pointed_at(table: Array) -> PerClass:
    """Flagged is what k-means singles out in any row (P4, algorithm 1, line 10); the score is the share of rows."""
    count = np.bincount([n for _, n in steps.rows_by_kmeans(table)], minlength=len(table))
    share = count / (len(table) - 1)
    return PerClass(floats(share.tolist()), frozenset(np.flatnonzero(count).tolist()))


METHODS: Mapping[str, Method] = {
    "GangSweep": gang_sweep,
    "NC": cleanse,
    "MESA": mesa_patches,
    "FeatureRE": feature_space,
    "Steps": mutation,
    "DMS-Steps": sliced,
    "bdscan": whole_scan,
}
