"""The parts of a running network that detectors use: its final softmax and its last linear layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdscan.intake.calls import Linear, Place, Watch, same_values
from bdscan.intake.presented import Presented


@dataclass(frozen=True)
class Anatomy:
    """Place of the final softmax call, and the last linear layer (place, weight (K, D), bias (K,)), where found."""

    softmax: Place | None
    linear: Place | None
    head: tuple[Tensor, Tensor] | None


def dissect(presented: Presented, images: Tensor) -> Anatomy:
    """Run the network (with its softmax) once on a few images (N, C, H, W) and look at its last calls."""
    watch = Watch()
    with torch.no_grad(), watch:
        scores = presented(images)
    softmaxes, linears = len(watch.softmaxes), len(watch.linears)
    softmax = next((rank for rank, value in enumerate(watch.softmaxes) if same_values(value, scores)), None)
    final = None if softmax is None else Place(softmax, softmaxes)
    outputs = scores.shape[1]
    linear = next((call for call in reversed(watch.linears) if call and _is_head(call, outputs)), None)
    if linear is None:
        return Anatomy(final, None, None)
    bias = linear.bias if linear.bias is not None else _added_bias(watch, linear)
    bias = torch.zeros(outputs, device=linear.weight.device) if bias is None else bias
    head = (linear.weight.detach().float(), bias.detach().float())
    return Anatomy(final, Place(linear.rank, linears), head)


def _is_head(call: Linear, outputs: int) -> bool:
    return call.weight.shape[0] == outputs and call.result.shape[1] == outputs


def _added_bias(watch: Watch, linear: Linear) -> Tensor | None:
    """The vector that is added to a product without bias (MatMul + Add in ONNX)."""
    for a, b, _ in watch.sums:
        for product, bias in ((a, b), (b, a)):
            if same_values(product, linear.result) and bias.numel() == linear.weight.shape[0]:
                return bias.flatten()
    return None
