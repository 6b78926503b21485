"""How near a recovered trigger is to the true one: average pixel difference and functional integrity rate (P4, IV.B).

APD: P4 writes (1/N) sum ||T_orig - T_rev||. A trigger's change depends on the image, so both triggers are stamped on
the same clean test images; APD is the mean absolute difference of the two results over images, channels and pixels, in
units of the full range. `apd_unstamped` is the same with no recovered trigger: what finding nothing would score.

FIR: the share of correctly classified clean test images (of the sources, without the target class) that are
misclassified, as anything, when the recovered trigger is stamped on them. ASR beside it counts the target alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdscan.detectors import sensitivity
from bdscan.detectors.interface import Budget, CouldNotRun, Hints
from bdscan.detectors.inversion.restore import stamp_from_parameters
from bdscan.detectors.inversion.universal import UniversalInversion
from bdscan.detectors.registry import DETECTORS, DMS
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.load import load
from bdscan.intake.speed import fast
from bdscan.jail.compute import deterministic
from bdscan.report import Report, TriggerParameters
from bdscan.settings import Settings
from bdscan.zoo import ablation
from bdscan.zoo.attacks.interface import Images, Labels
from bdscan.zoo.known_trigger import KnownTrigger, Stamp, known_triggers
from bdscan.zoo.model_folder import ModelFolder

IMAGES = 500
SPARSE = next(d for d in DETECTORS if isinstance(d, UniversalInversion) and d.about.name == "inversion.sparse")
NOT_COMPARED = "the card does not describe the trigger exactly"


@dataclass(frozen=True)
class Comparison:
    """One recovered trigger against the true one, on n clean images. `true_asr`: the true trigger's success on them."""

    family: str
    apd: float
    apd_unstamped: float
    fir: float
    asr: float
    true_asr: float
    n: int


def compare(classifier: Classifier, x: Tensor, y: Tensor, known: KnownTrigger, family: str, stamp: Stamp) -> Comparison:
    """Compare on images x (N,C,H,W) in [0,1] with labels y (N,); those that the attack does not aim at are left out.

    ValueError where none is left.
    """
    use = y != known.target
    if known.sources:
        use &= torch.isin(y, torch.tensor(known.sources))
    x, y = x[use], y[use]
    right = classifier.predict(x).argmax(1) == y if len(x) else use[:0]
    x, y = x[right], y[right]
    if not len(x):
        raise ValueError("no clean image of the trigger's sources is classified correctly")
    true, recovered = known.stamp(x), stamp(x)
    answer = classifier.predict(recovered).argmax(1)
    return Comparison(
        family=family,
        apd=float((true - recovered).abs().mean()),
        apd_unstamped=float((true - x).abs().mean()),
        fir=float((answer != y).float().mean()),
        asr=float((answer == known.target).float().mean()),
        true_asr=float((classifier.predict(true).argmax(1) == known.target).float().mean()),
        n=len(x),
    )


def _at_full(stamp: Callable[[Tensor, float], Tensor]) -> Stamp:
    return lambda images: stamp(images, 1.0)


def found_trigger(report: Report, target: int) -> TriggerParameters | None:
    """The trigger that the scan reports for this target; a finding that alarms goes before a weakness."""
    for finding in sorted(report.findings, key=lambda f: f.weakness):
        if finding.target is not None and finding.target.index == target:
            for evidence in finding.evidence:
                if isinstance(evidence, TriggerParameters):
                    return evidence
    return None


def inverted(detector: UniversalInversion, subject: Scannable, hints: Hints, budget: Budget) -> dict[int, Stamp]:
    """What an inversion recovers in this process, by target; nothing where it cannot run."""
    result = detector.run(subject, budget, hints, lambda share: None)
    if isinstance(result, CouldNotRun):
        return {}
    return {c.target: _at_full(c.stamp) for c in reversed(result.candidates)}


def examine(model: ModelFolder, report: Report, settings: Settings, x: Images, y: Labels) -> dict[str, Any]:
    """Fidelity of the recovered triggers, Steps against DMS-Steps, and seconds a sample, for one scanned network.

    Runs in this process, so only for networks whose origin is known.

    Args:
        settings: those of the scan.
        x, y: clean images, uint8 (N,H,W,C), that the scan was not given.
    """
    with deterministic(settings):
        subject = load(settings).scannable
        searching = Scannable(fast(subject.classifier), subject.samples, subject.reference)
        budget = Budget(settings.budget, settings.seed)
        mapped = sensitivity.run(searching, budget, Hints(), lambda share: None)
        mask = None if isinstance(mapped, CouldNotRun) else mapped.mask
        out: dict[str, Any] = {
            "seconds_per_sample": seconds_per_sample(report),
            "ablation": ablation.compare(searching, mask, model.targets, settings.budget),
        }
        if model.truth == "backdoored":
            out["triggers"] = _triggers(model, report, subject, searching, mask, budget, x, y)
    return out


def _triggers(
    model: ModelFolder,
    report: Report,
    subject: Scannable,
    searching: Scannable,
    mask: Tensor | None,
    budget: Budget,
    x: Images,
    y: Labels,
) -> list[dict[str, Any]]:
    classifier = subject.classifier
    images = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    known = known_triggers(model)
    if not known:
        return [{"target": t, "note": NOT_COMPARED} for t in model.targets]
    if images.shape[1:] != classifier.shape:
        return [{"target": k.target, "note": "the test images have another size than the input"} for k in known]
    labels = torch.from_numpy(y)
    # as in P4, the mask is for the labels that the scan suspects; it is not told the true ones
    suspected = tuple(dict.fromkeys(f.target.index for f in report.findings if f.target is not None))
    hints = Hints(ranking=suspected, mask=mask)
    reported = {k.target: found_trigger(report, k.target) for k in known}
    searched = {"dms": inverted(DMS, searching, hints, budget), "sparse": {}}
    if any(t is None or t.family != SPARSE.family.name for t in reported.values()):
        searched["sparse"] = inverted(SPARSE, searching, hints, budget)
    rows = []
    for one in known:
        stamps = {name: (SPARSE.family.name, found.get(one.target)) for name, found in searched.items()}
        if (trigger := reported[one.target]) is not None:
            stamps["report"] = (trigger.family, _at_full(stamp_from_parameters(trigger)))
        row: dict[str, Any] = {"target": one.target, "sources": list(one.sources)}
        for name, (family, stamp) in stamps.items():
            row[name] = None if stamp is None else asdict(compare(classifier, images, labels, one, family, stamp))
        rows.append(row)
    return rows


def seconds_per_sample(report: Report) -> dict[str, float]:
    """P4's table VI: stage seconds over search samples. DMS is the sensitivity map and the inversion inside it."""
    seconds = {stage.name: stage.seconds for stage in report.run.stages}
    count = max(1, report.samples.search)
    dms = seconds.get(sensitivity.about.name, 0.0) + seconds.get(DMS.about.name, 0.0)
    return {"steps": seconds.get("steps", 0.0) / count, "dms": dms / count}


def scan_settings(model: Path, samples: Path, arch: str | None, budget: str, seed: int, threads: int) -> Settings:
    """The settings of one scan of the table, on the CPU."""
    return Settings.model_validate(
        {
            "model": str(model),
            "samples": str(samples),
            "arch": arch,
            "budget": budget,
            "seed": seed,
            "threads": threads,
            "device": "cpu",
        }
    )
