"""Channel-Lipschitz pruning (CLP, Zheng et al. 2022): channels whose filter amplifies most are cut; without images."""

from __future__ import annotations

from itertools import zip_longest

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.repair.student import frozen, student_of

DEVIATIONS = 3.0  # the paper's u


def channel_lipschitz(subject: Scannable, seed: int) -> Classifier:
    """The pruned network; the seed changes nothing. CannotJudge where no convolution can be reached."""
    student = student_of(subject.classifier)
    layers = [m for m in student.network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    pairs = [
        (layer, after if isinstance(after, nn.BatchNorm2d) and after.num_features == layer.out_channels else None)
        for layer, after in zip_longest(layers, layers[1:])
        if isinstance(layer, nn.Conv2d)
    ]
    if not pairs:
        raise CannotJudge("no convolution layer can be reached in this format")
    for layer, norm in pairs:
        bound = lipschitz(layer, norm)
        outliers = bound > bound.mean() + DEVIATIONS * bound.std()
        with torch.no_grad():
            for owner in (layer, norm):
                if owner is not None:
                    owner.weight[outliers] = 0
                    if owner.bias is not None:
                        owner.bias[outliers] = 0
    return frozen(student)


def lipschitz(layer: nn.Conv2d, norm: nn.BatchNorm2d | None) -> Tensor:
    """Upper bound (C,) of each channel's Lipschitz constant: the largest singular value of its filter as a matrix
    (inputs, height x width), times the scale of the batch normalisation behind it."""
    weight = layer.weight.detach()
    if norm is not None:
        variance = torch.ones(layer.out_channels) if norm.running_var is None else norm.running_var
        scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
        weight = weight * scale.abs().view(-1, 1, 1, 1)
    bound: Tensor = torch.linalg.matrix_norm(weight.flatten(2), ord=2)
    return bound
