"""The detector of sine waves; how they are searched is in `wave_search`."""

from __future__ import annotations

import numpy as np
import torch

from bdscan.detectors.common import bars
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.inversion.families.wave import FAMILY, LARGEST
from bdscan.detectors.inversion.universal import metrics, size_statistics
from bdscan.detectors.inversion.wave_search import candidate, search, sizes_of
from bdscan.intake.classifier import Scannable

SMALLEST = 24  # pixels a side; clean networks on smaller images answer to some waves

about = About(
    name="inversion.wave",
    title="Sine waves over the whole image",
    needs="clean images; no gradients",
    finds="SIG: one sine wave added to every image",
    misses="other patterns, and waves above 8 cycles an image",
    source="Barni et al. 2019 (SIG)",
)


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    classifier = subject.classifier
    if min(classifier.shape[1:]) < SMALLEST:
        return CouldNotRun(f"images below {SMALLEST} pixels a side: a sine wave is like any other pattern there")
    images, truth = subject.samples.part(subject.samples.search, classifier.device)
    right = classifier.predict(images).argmax(1) == truth
    if len(torch.unique(truth[right])) < 2:
        return CouldNotRun("the correctly classified search images are all of one class")
    found = search(classifier, images[right], truth[right], budget.name, budget.seed)
    sizes = sizes_of(found)
    order = [int(i) for i in sizes.log.argsort(kind="stable")]
    top = order[0]
    reached = [i for i in order if not sizes.censored[i]]
    return Measurement(
        statistics=size_statistics(subject, about.name, sizes),
        evidence=(
            bars(
                subject,
                "Least amplitude of a sine wave by target class",
                FAMILY.unit,
                [float(v) for v in sizes.sizes],
                highlighted=[top],
                reference=float(np.median(sizes.sizes)),
                censored=sizes.censored,
            ),
        ),
        summary=(
            f"least amplitude: {255 * sizes.sizes[top]:.0f}/255, to class {top}"
            if reached
            else f"no wave up to {255 * LARGEST:.0f}/255 sends images of all classes to one"
        ),
        scores={i: float(v) for i, v in enumerate(sizes.index)},
        candidates=tuple(candidate(found, i, metrics(sizes, i)) for i in reached[:2]),
    )
