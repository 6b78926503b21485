"""Published detectors on one network, each with as many gradients as a standard scan gives one trigger family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bdscan.detectors import margin, steps
from bdscan.detectors.inversion.universal import FIRST
from bdscan.intake.load import load
from bdscan.intake.speed import fast
from bdscan.jail.compute import deterministic
from bdscan.settings import Settings
from bdscan.zoo.baselines import mm_bd, neural_cleanse, steps_kmeans
from bdscan.zoo.baselines.verdict import Verdict

STARTS, ASCENT = 5, 60  # of margins: starts a class, steps
INDEX = "sparse.classic_index"  # the scan's own sparse family is P1's inversion, eq. 3 to 5


def measure(statistics: Sequence[Sequence[Any]], settings: Settings) -> dict[str, dict[str, Any]]:
    """Name -> score, alarm by the paper's rule, target; of the network whose scan found `statistics`.

    Those are name, target, sources and value each, as a survey keeps them.
    """
    iterations, per_step = FIRST[settings.budget]
    with deterministic(settings):
        found = load(settings).scannable
        classifier = fast(found.classifier)
        images, labels = found.samples.part(found.samples.search, classifier.device)
        classes = len(classifier.classes)
        verdicts = {"p1": published_inversion(statistics)}
        for name, adaptive in (("nc", False), ("adap_nc", True)):
            inverted = neural_cleanse.inverted(
                classifier,
                images,
                labels,
                iterations=iterations,
                per_step=per_step,
                adaptive=adaptive,
                seed=settings.seed,
            )
            verdicts[name] = neural_cleanse.verdict(inverted.sizes)
        margins = margin.largest_margins(found, list(range(classes)), STARTS, ASCENT, settings.seed, lambda share: None)
        verdicts["mm_bd"] = mm_bd.verdict(margins)
        rounds = steps.ROUNDS[settings.budget]
        verdicts["steps"] = steps_kmeans.verdict(steps.lead(*steps.mutate(found, rounds), classes, rounds))
    return {name: asdict(one) for name, one in verdicts.items()}


def published_inversion(statistics: Sequence[Sequence[Any]]) -> Verdict:
    """P1's inversion with Neural Cleanse's index above 2; no alarm where the scan did not invert."""
    found = [(value, target) for name, target, _, value in statistics if name == INDEX and None not in (value, target)]
    if not found:
        return Verdict(0.0, False, None)
    value, target = max(found)
    return Verdict(float(value), value > neural_cleanse.ALARM, target)
