"""A copy of the suspect network whose weights can be trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge
from bdscan.intake.classifier import Classifier
from bdscan.intake.presented import Presented

HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Student:
    """A trainable twin of a classifier.

    Attributes:
        classifier: the same presentation over the copied network; in eval mode, so that batch normalisation keeps the
            statistics it has: those of a few stamped images would be worse. In float32 where the original is in half
            precision, in which Adam's steps vanish or overflow; what is written has the original's types.
        weights: the parameters that are trained.
    """

    classifier: Classifier
    network: nn.Module
    weights: tuple[nn.Parameter, ...]

    def state(self) -> tuple[Tensor, ...]:
        return tuple(weight.detach().clone() for weight in self.weights)

    @torch.no_grad()
    def load(self, state: Sequence[Tensor]) -> None:
        for weight, value in zip(self.weights, state, strict=True):
            weight.copy_(value)


def student_of(classifier: Classifier) -> Student:
    """CannotJudge for a network whose weights cannot be reached or trained."""
    own = classifier.forward
    if not isinstance(own, Presented) or not classifier.differentiable:
        raise CannotJudge("the model's weights cannot be trained here (no gradients); repair it where it was made")
    network, dtype = copy.deepcopy(own.network).eval(), own.dtype
    halves = any(p.dtype in HALVES for p in network.parameters())
    if halves and not isinstance(network, torch.jit.ScriptModule):  # a script's own casts stay as they are
        network, dtype = network.float(), torch.float32
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    weights = tuple(p for p in network.parameters() if p.requires_grad)
    if not weights:
        raise CannotJudge("the file holds no float weights to train; repair the model it was made from")
    twin = own.with_network(network, dtype)
    return Student(replace(classifier, forward=twin, module=network), network, weights)


def frozen(student: Student) -> Classifier:
    """The student's classifier over a frozen copy, as the detectors expect it."""
    own = student.classifier.forward
    assert isinstance(own, Presented)
    for weight in student.weights:  # a copy of a TorchScript weight with gradients is no leaf and cannot be frozen
        weight.requires_grad_(False)
    network = copy.deepcopy(student.network)
    for weight in student.weights:
        weight.requires_grad_(True)
    return replace(student.classifier, forward=own.with_network(network, own.dtype), module=network)
