"""Sine waves to classes that the scan names for another trigger, though a small wave moves images to them.

Of four triggers on faces (a tuning network) the sine wave was shown as a warp; unlearned as one, it kept a third of its
success. The scan's statistic of waves tells of it, and waves are tried quickly.
"""

from __future__ import annotations

from collections.abc import Sequence

from bdscan.detectors.inversion import wave_search
from bdscan.detectors.inversion.families.wave import FAMILY, LARGEST
from bdscan.intake.classifier import Scannable
from bdscan.intake.speed import fast
from bdscan.repair.planted import HIDDEN, Planted, alarms
from bdscan.report import Report


def targets(report: Report, triggers: Sequence[Planted]) -> tuple[int, ...]:
    """Classes whose smallest wave is HIDDEN of others', and that no wave is known of, in a report that alarms."""
    known = {t.target for t in triggers if t.family == FAMILY.name}
    small = [
        s.target.index
        for s in report.statistics
        if s.name == f"{FAMILY.name}.ratio" and s.target and s.value is not None and s.value < HIDDEN
    ]
    return tuple(index for index in dict.fromkeys(small) if index not in known) if alarms(report) else ()


def hidden_waves(report: Report, subject: Scannable, triggers: Sequence[Planted], seed: int) -> tuple[Planted, ...]:
    """The smallest wave of each of these classes that a search with this seed finds again."""
    wanted = targets(report, triggers)
    if not wanted:
        return ()
    classifier = fast(subject.classifier)
    images, labels = subject.samples.part(subject.samples.search, classifier.device)
    right = classifier.predict(images).argmax(1) == labels
    found = wave_search.search(classifier, images[right], labels[right], "standard", seed)
    waves = [wave_search.candidate(found, index, {}) for index in wanted if float(found.size[index]) < LARGEST]
    return tuple(Planted(wave.target, (), wave.family, wave.stamp, hidden=True) for wave in waves)
