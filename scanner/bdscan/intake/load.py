"""From a model file and a few images to a subject that detectors can use."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake import torchscript
from bdscan.intake.classifier import Classifier, Samples, Scannable
from bdscan.intake.files import combined_digest, digest_of, existing_file
from bdscan.intake.head import Anatomy, dissect
from bdscan.intake.label_names import read_labels
from bdscan.intake.network import Network, open_network
from bdscan.intake.onnx_file import difference_from_onnxruntime
from bdscan.intake.output_kind import OutputKind, output_kind
from bdscan.intake.preprocessing import Override, parse_override
from bdscan.intake.presented import Presented
from bdscan.intake.probe import Presentation, find_presentation
from bdscan.intake.raw_samples import RawSamples
from bdscan.intake.samples import describe_samples, read_samples, split_samples
from bdscan.report import FileDigest, Label, SamplesInfo, Subject
from bdscan.settings import Settings

FEW_IMAGES = 20
BATCH = 64


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
    device = pick_device(settings.device)
    override = parse_override(settings.preprocessing)
    names = read_labels(settings.labels) if settings.labels else None
    raw = read_samples(settings.samples, settings.seed)
    network = open_network(settings.model, settings.arch, device)
    presentation = find_presentation(network, raw, names, override, device, settings.seed)
    samples = split_samples(raw, list(presentation.labels), presentation.mould.shape, settings.seed)
    classifier, kind, notes = _classifier(network, presentation, samples, device)
    difference = _check_evaluator(network, classifier, samples) if network.graph else None
    files = (*network.files, *_label_files(settings))
    reference = _reference(settings, raw, names, presentation, device) if settings.reference else None
    if reference:
        files = (*files, *reference.files)
    info = describe_samples(settings.samples, raw, samples, len(presentation.classes))
    notes = (*network.notes, *notes, *_few(len(samples.labels)))
    subject = Subject(
        path=settings.model,
        digest=combined_digest(tuple(file for file in files if file.role in ("model", "sidecar", "arch"))),
        files=files,
        format=network.format,
        architecture=network.architecture,
        input_shape=presentation.mould.shape,
        classes=tuple(Label(index=index, name=name) for index, name in enumerate(presentation.classes)),
        parameters=network.parameters,
        preprocessing=presentation.preprocessing,
        output=kind,
        clean_accuracy=_accuracy(classifier, samples),
        clean_accuracy_n=len(samples.labels),
        onnxruntime_difference=difference,
        notes=notes,
    )
    trusted = reference.classifier if reference else None
    return Intake(Scannable(classifier, samples, trusted, (*notes, *info.notes)), subject, info)


def pick_device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda: no CUDA device is available; use --device cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _classifier(
    network: Network, presentation: Presentation, samples: Samples, device: torch.device
) -> tuple[Classifier, OutputKind, tuple[str, ...]]:
    """The classifier with its final softmax removed, checked to name the same classes as the file's own outputs."""
    raw = Presented(network.module, presentation.preprocessing, presentation.mould)
    with torch.no_grad():
        scores = _over_samples(raw, samples, device)
    kind = output_kind(scores)
    few = samples.images[:2].to(device).float() / 255
    anatomy = dissect(raw, few)
    presented, notes = raw, ()
    if kind != "logits":
        presented, notes = _without_softmax(network, raw, anatomy, kind, scores, samples, device)
    rank = anatomy.linear_rank
    classifier = Classifier(
        forward=presented,
        classes=presentation.classes,
        shape=presentation.mould.shape,
        device=device,
        preprocessing=presentation.preprocessing,
        differentiable=_differentiable(presented, few),
        module=network.module,
        features=None if rank is None else (lambda images: presented.features(images, rank)),
        head=None if anatomy.weight is None or anatomy.bias is None else (anatomy.weight, anatomy.bias),
        graph=network.graph,
    )
    if not classifier.differentiable:
        notes = (*notes, "the model has no input gradient: only detectors without gradients can run")
    return classifier, kind, notes


def _without_softmax(
    network: Network,
    raw: Presented,
    anatomy: Anatomy,
    kind: OutputKind,
    scores: Tensor,
    samples: Samples,
    device: torch.device,
) -> tuple[Presented, tuple[str, ...]]:
    module, rank = network.module, anatomy.softmax_rank
    if network.format == "TorchScript":
        module = torchscript.without_final_softmax(network.path, device) or network.module
    if rank is not None or module is not network.module:
        presented = Presented(module, raw.preprocessing, raw.mould, softmax_rank=rank)
        with torch.no_grad():
            logits = _over_samples(presented, samples, device)
        top = scores.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
        if bool((top >= scores.amax(1) - 1e-5).all()):
            return presented, ()
    if kind == "log-probabilities":
        return raw, ()
    note = "the final softmax could not be removed: logarithms of the probabilities are used, which saturate"
    return Presented(network.module, raw.preprocessing, raw.mould, logarithm=True), (note,)


def _over_samples(presented: Presented, samples: Samples, device: torch.device) -> Tensor:
    parts = samples.images.split(BATCH)
    scores = torch.cat([presented(part.to(device).float() / 255).cpu() for part in parts])
    if not bool(torch.isfinite(scores).all()):
        raise CannotJudge("the model's outputs are NaN or infinite on some clean images")
    return scores


def _differentiable(presented: Presented, images: Tensor) -> bool:
    images = images.clone().requires_grad_(True)
    try:
        logits = presented(images)
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.square().sum(), images, allow_unused=True)
    except RuntimeError:
        return False
    return gradient is not None and bool(torch.isfinite(gradient).all())


def _check_evaluator(network: Network, classifier: Classifier, samples: Samples) -> float:
    presented = Presented(network.module, classifier.preprocessing, _mould(classifier))
    x = torch.cat([presented.present(part.float() / 255) for part in samples.images.split(BATCH)])
    return difference_from_onnxruntime(network.module, network.path, x)


def _mould(classifier: Classifier):  # noqa
    return classifier.forward.mould


def _accuracy(classifier: Classifier, samples: Samples) -> float:
    right = 0
    for images, labels in zip(samples.images.split(BATCH), samples.labels.split(BATCH), strict=True):
        logits = classifier.predict(images.to(classifier.device).float() / 255)
        right += int((logits.argmax(1).cpu() == labels).sum())
    return right / len(samples.labels)


def _few(count: int) -> tuple[str, ...]:
    return (f"only {count} images: preprocessing and rates are uncertain",) if count < FEW_IMAGES else ()


def _label_files(settings: Settings) -> tuple[FileDigest, ...]:
    return (digest_of(existing_file(settings.labels, "--labels"), "labels"),) if settings.labels else ()


@dataclass(frozen=True)
class _Reference:
    classifier: Classifier
    files: tuple[FileDigest, ...]


def _reference(
    settings: Settings, raw: RawSamples, names: tuple[str, ...] | None, subject: Presentation, device: torch.device
) -> _Reference:
    """The trusted network, loaded the same way; it must name the same classes in the same order."""
    network = open_network(str(settings.reference), settings.reference_arch, device, "reference")
    try:
        presentation = find_presentation(network, raw, names, Override(), device, settings.seed)
    except CannotJudge as error:
        raise UsageError(f"--reference {settings.reference}: {error}") from None
    if len(presentation.classes) != len(subject.classes):
        raise UsageError(
            f"--reference {settings.reference}: {len(presentation.classes)} classes but the model has {len(subject.classes)}"
        )
    samples = split_samples(raw, list(presentation.labels), presentation.mould.shape, settings.seed)
    classifier, _, _ = _classifier(network, presentation, samples, device)
    files = tuple(file.model_copy(update={"role": "reference"}) for file in network.files)
    return _Reference(replace(classifier, shape=subject.mould.shape), files)
