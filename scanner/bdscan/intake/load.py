"""From a model file and a few images to a subject that detectors can use."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Classifier, Samples, Scannable
from bdscan.intake.files import combined_digest, digest_of, existing_file
from bdscan.intake.label_names import read_labels
from bdscan.intake.network import Network, open_network
from bdscan.intake.onnx_file import difference_from_onnxruntime
from bdscan.intake.preprocessing import parse_override
from bdscan.intake.presented import Presented
from bdscan.intake.probe import Presentation, find_presentation
from bdscan.intake.reference import open_reference
from bdscan.intake.samples import describe_samples, read_samples, split_samples
from bdscan.intake.wrap import BATCH, wrap
from bdscan.onnx import OnnxError
from bdscan.report import FileDigest, Label, SamplesInfo, Subject
from bdscan.settings import Settings

FEW_IMAGES = 20


@dataclass(frozen=True)
class Intake:
    """What a scan works on, and what its report says of it."""

    scannable: Scannable
    subject: Subject
    samples: SamplesInfo


def load(settings: Settings) -> Intake:
    """Open the model and the samples, find how they fit together, and check that the model can be judged.

    Raises:
        UsageError: a file, option or samples that cannot be used.
        CannotJudge: NaN, no classifier, accuracy near chance, unsupported operators, a pickle that wants more.
    """
    try:
        return _load(settings)
    except OnnxError as error:
        raise CannotJudge(printable(f"model {settings.model}: {error}")) from None
    except (UsageError, CannotJudge) as error:
        raise type(error)(printable(str(error))) from None


def printable(text: str, limit: int = 1000) -> str:
    """Text that may come from the file under audit, as one line without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)[:limit]


def _load(settings: Settings) -> Intake:
    device = pick_device(settings.device)
    override = parse_override(settings.preprocessing)
    names = read_labels(settings.labels) if settings.labels else None
    raw = read_samples(settings.samples, settings.seed)
    network = open_network(settings.model, settings.arch, device)
    presentation = find_presentation(network, raw, names, override, device, settings.seed)
    samples = split_samples(raw, list(presentation.labels), presentation.mould.shape, settings.seed)
    classifier, kind, notes = wrap(network, presentation, samples, device)
    difference = _check_evaluator(network, classifier, presentation, samples) if network.graph else None
    files = (*network.files, *_label_files(settings))
    reference = None
    if settings.reference:
        reference, more = open_reference(
            settings.reference, settings.reference_arch, raw, names, presentation, device, settings.seed
        )
        files = (*files, *more)
    info = describe_samples(settings.samples, raw, samples, len(presentation.classes))
    notes = tuple(printable(note) for note in (*network.notes, *notes, *_few(len(samples.labels))))
    subject = Subject(
        path=settings.model,
        digest=combined_digest(tuple(file for file in files if file.role in ("model", "sidecar", "arch"))),
        files=files,
        format=network.format,
        architecture=network.architecture,
        input_shape=presentation.mould.shape,
        classes=tuple(Label(index=index, name=printable(name, 300)) for index, name in enumerate(presentation.classes)),
        parameters=network.parameters,
        preprocessing=presentation.preprocessing,
        output=kind,
        clean_accuracy=_accuracy(classifier, samples),
        clean_accuracy_n=len(samples.labels),
        onnxruntime_difference=difference,
        notes=notes,
    )
    return Intake(Scannable(classifier, samples, reference, (*notes, *info.notes)), subject, info)


def pick_device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda: no CUDA device is available; use --device cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _check_evaluator(network: Network, classifier: Classifier, presentation: Presentation, samples: Samples) -> float:
    """Largest relative difference between our evaluation of the graph and onnxruntime's, on all samples."""
    presented = Presented(network.module, classifier.preprocessing, presentation.mould)
    x = torch.cat([presented.present(part.float() / 255) for part in torch.split(samples.images, BATCH)])
    return difference_from_onnxruntime(network.module, network.path, x)


def _accuracy(classifier: Classifier, samples: Samples) -> float:
    right = 0
    for images, labels in zip(torch.split(samples.images, BATCH), torch.split(samples.labels, BATCH), strict=True):
        logits = classifier.predict(images.to(classifier.device).float() / 255)
        right += int((logits.argmax(1).cpu() == labels).sum())
    return right / len(samples.labels)


def _few(count: int) -> tuple[str, ...]:
    return (f"only {count} images: preprocessing and rates are uncertain",) if count < FEW_IMAGES else ()


def _label_files(settings: Settings) -> tuple[FileDigest, ...]:
    return (digest_of(existing_file(settings.labels, "--labels"), "labels"),) if settings.labels else ()
