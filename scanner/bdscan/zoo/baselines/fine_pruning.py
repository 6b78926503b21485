"""Fine-pruning (Liu et al. 2018): channels of the last convolution that sleep on clean images are cut, then the rest is
fine-tuned. The backdoor is supposed to live in the sleepers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.repair.student import frozen, student_of
from bdscan.zoo.baselines.fine_tuning import tune

MOST_LOST = 0.04  # of the accuracy on the search images; then pruning stops, as in the paper


def fine_pruning(subject: Scannable, seed: int) -> Classifier:
    """The pruned and fine-tuned network. CannotJudge where it has no convolution that can be reached."""
    student = student_of(subject.classifier)
    layer = last_convolution(student.network)
    images, labels = subject.samples.part(subject.samples.search, subject.classifier.device)
    order = activity(student.classifier, layer, images).argsort().tolist()

    def accuracy() -> float:
        return float((student.classifier.predict(images).argmax(1) == labels).float().mean())

    least = accuracy() - MOST_LOST
    for channel in order[:-1]:
        kept = layer.weight[channel].detach().clone(), None if layer.bias is None else layer.bias[channel].clone()
        cut(layer, channel)
        if accuracy() < least:
            with torch.no_grad():
                layer.weight[channel] = kept[0]
                if layer.bias is not None and kept[1] is not None:
                    layer.bias[channel] = kept[1]
            break
    tune(student, subject, seed)
    return frozen(student)


def last_convolution(network: nn.Module) -> nn.Conv2d:
    """The last in the order of definition."""
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise CannotJudge("no convolution layer can be reached in this format")
    return found[-1]


def activity(classifier: Classifier, layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Mean positive output of each channel (C,) over the images."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, given, out: seen.append(out.detach().clamp(min=0).mean((2, 3))))
    try:
        classifier.predict(images)
    finally:
        hook.remove()
    return torch.cat(seen).mean(0)


def cut(layer: nn.Conv2d, channel: int) -> None:
    with torch.no_grad():
        layer.weight[channel] = 0
        if layer.bias is not None:
            layer.bias[channel] = 0
