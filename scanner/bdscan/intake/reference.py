"""The trusted network that the user named with `--reference`."""

from __future__ import annotations

from dataclasses import replace

import torch

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Classifier
from bdscan.intake.network import open_network
from bdscan.intake.preprocessing import Override
from bdscan.intake.probe import Presentation, find_presentation
from bdscan.intake.raw_samples import RawSamples
from bdscan.intake.samples import split_samples
from bdscan.intake.wrap import wrap
from bdscan.report import FileDigest


def open_reference(
    path: str,
    arch: str | None,
    raw: RawSamples,
    names: tuple[str, ...] | None,
    subject: Presentation,
    device: torch.device,
    seed: int,
) -> tuple[Classifier, tuple[FileDigest, ...]]:
    """Loaded like the subject, called with images of the subject's shape. UsageError where its classes are others.

    That its labels have the same order follows from its accuracy on the same samples.
    """
    network = open_network(path, arch, device, "reference")
    try:
        presentation = find_presentation(network, raw, names, Override(), device, seed)
    except CannotJudge as error:
        raise UsageError(f"--reference {path}: {error}") from None
    if len(presentation.classes) != len(subject.classes):
        outputs, wanted = len(presentation.classes), len(subject.classes)
        raise UsageError(f"--reference {path}: {outputs} classes but the model has {wanted}")
    samples = split_samples(raw, list(presentation.labels), presentation.mould.shape, seed)
    classifier, _, _ = wrap(network, presentation, samples, device)
    files = tuple(file.model_copy(update={"role": "reference"}) for file in network.files)
    return replace(classifier, shape=subject.mould.shape), files
