"""From a network and its presentation to the classifier that detectors see, checked against the file's own outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from bdscan.errors import CannotJudge
from bdscan.intake import torchscript
from bdscan.intake.calls import Place
from bdscan.intake.classifier import Classifier, Samples
from bdscan.intake.head import dissect
from bdscan.intake.network import Network
from bdscan.intake.output_kind import OutputKind, output_kind
from bdscan.intake.presented import Presented
from bdscan.intake.probe import Presentation

BATCH = 64
NO_NOTES: tuple[str, ...] = ()
SAME_CLASS = 1e-5  # two classes within this of each other's probability count as equally named


def wrap(
    network: Network, presentation: Presentation, samples: Samples, device: torch.device
) -> tuple[Classifier, OutputKind, tuple[str, ...]]:
    """The classifier with its final softmax removed, the kind of the file's own outputs, and notes.

    CannotJudge where outputs on the samples are not finite.
    """
    own = Presented(network.module, presentation.preprocessing, presentation.mould, batch=network.batch)
    scores = over_samples(own, samples, device)
    if not bool(torch.isfinite(scores).all()):
        raise CannotJudge("the model's outputs are NaN or infinite on some clean images")
    kind = output_kind(scores)
    few = samples.images[: network.batch or 2].to(device).float() / 255
    anatomy = dissect(own, few)
    presented, notes = own, NO_NOTES
    if kind != "logits":
        presented, notes = _without_softmax(network, own, anatomy.softmax, kind, scores, samples, device)
    gradient = _has_gradient(presented, few)
    if not gradient:
        notes = (*notes, "the model has no input gradient: only detectors without gradients can run")
    place = anatomy.linear
    classifier = Classifier(
        forward=presented,
        classes=presentation.classes,
        shape=presentation.mould.shape,
        device=device,
        preprocessing=presentation.preprocessing,
        differentiable=gradient,
        module=network.module,
        features=None if place is None else lambda images: presented.features(images, place),
        head=anatomy.head,
        graph=network.graph,
    )
    return classifier, kind, notes


def over_samples(presented: Presented, samples: Samples, device: torch.device) -> Tensor:
    """Outputs (N, K) for all samples, on the CPU."""
    with torch.no_grad():
        parts = [presented(part.to(device).float() / 255).cpu() for part in torch.split(samples.images, BATCH)]
    return torch.cat(parts)


def _without_softmax(
    network: Network,
    own: Presented,
    final: Place | None,
    kind: OutputKind,
    scores: Tensor,
    samples: Samples,
    device: torch.device,
) -> tuple[Presented, tuple[str, ...]]:
    module = network.module
    if network.format == "TorchScript":
        module = torchscript.without_final_softmax(network.path, device) or module
    if final is not None or module is not network.module:
        presented = Presented(module, own.preprocessing, own.mould, final, batch=network.batch)
        named = over_samples(presented, samples, device).argmax(1, keepdim=True)
        if bool((scores.gather(1, named).squeeze(1) >= scores.amax(1) - SAME_CLASS).all()):
            return presented, ()
    if kind == "log-probabilities":
        return own, ()  # as good as logits
    note = "the final softmax could not be removed: logarithms of the probabilities are used, which saturate"
    return Presented(network.module, own.preprocessing, own.mould, logarithm=True, batch=network.batch), (note,)


def _has_gradient(presented: Presented, images: Tensor) -> bool:
    images = images.clone().requires_grad_(True)
    try:
        logits = presented(images)
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.square().sum(), images, allow_unused=True)
    except RuntimeError:
        return False
    return gradient is not None and bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())
