"""A network nobody trained that is right on its samples: random features, and a last layer fitted on them.

For timing where no trained network is at hand. What a scan finds in it says nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SURE, LOW, SPREAD, RIDGE = 10.0, -5.0, 0.01, 1e-4
ENOUGH = 0.9  # share of the images


def fit_last_layer(model: nn.Module, images: Tensor, labels: Tensor, seed: int = 0) -> None:
    """Set batch-norm statistics by the images and solve for the last linear layer, in place; evaluation mode after.

    Images (N,C,H,W) are as the network gets them, labels (N,). Outputs that no image has stay low everywhere.
    Raises ValueError where the network has no linear layer, or too few features to be right on nearly all images.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("the network has no linear layer")
    last = linear[-1]
    with torch.no_grad():
        settle(model, images)
        features = _inputs_of(last, model, images)
        centre, scale = features.mean(0), features.std(0).clamp(min=1e-6)
        scaled = torch.cat([(features - centre) / scale, torch.ones(len(features), 1, dtype=features.dtype)], 1)
        wanted = torch.full((len(labels), last.out_features), LOW, dtype=features.dtype)
        wanted[:, torch.bincount(labels).nonzero()[:, 0]] = 0.0
        wanted[torch.arange(len(labels)), labels] = SURE
        gram = scaled @ scaled.T + RIDGE * len(scaled) * torch.eye(len(scaled), dtype=features.dtype)
        solution = (scaled.T @ torch.linalg.solve(gram, wanted)).T
        draw = torch.Generator().manual_seed(seed)
        noise = SPREAD * torch.randn(last.weight.shape, generator=draw, dtype=features.dtype)
        weight = (solution[:, :-1] + noise) / scale
        last.weight.copy_(weight)
        last.bias.copy_(solution[:, -1] - weight @ centre)
        answer = torch.cat([model(part).argmax(1) for part in torch.split(images, 50)])
    if float((answer == labels).float().mean()) < ENOUGH:
        raise ValueError(f"{last.in_features} random features do not separate {len(labels)} images")


def settle(model: nn.Module, images: Tensor) -> None:
    """Batch-norm's running statistics from the images, as plain averages; then evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    model.train()
    for part in torch.split(images, 50):
        model(part)
    model.eval()


def _inputs_of(layer: nn.Module, model: nn.Module, images: Tensor) -> Tensor:
    """What the layer is given for the images (N, D), float64."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].double()))
    for part in torch.split(images, 50):
        model(part)
    hook.remove()
    return torch.cat(seen)
