"""What detectors see of a model: images in [0, 1] in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bdscan.report import Preprocessing

BATCH_PIXELS = 2**21  # in one pass with gradients: 512 images of 64x64, 41 of 224x224 (a ResNet-18: 1 GB)


def batch_size(shape: tuple[int, ...], most: int) -> int:
    """Images (..., H, W) in one pass: `most`, fewer of large ones (memory), never less than eight."""
    return min(most, max(8, BATCH_PIXELS // (shape[-2] * shape[-1])))


@dataclass(frozen=True)
class Classifier:
    """A classifier behind one fixed presentation of pixels.

    Called with float images (N, C, H, W) in [0, 1] it returns float32 logits (N, K); a final softmax or log-softmax has
    been stripped. Preprocessing never reaches a detector.

    Attributes:
        forward: images -> logits, differentiable in the images if `differentiable`.
        classes: class names, K of them, in the order of the outputs.
        shape: (C, H, W) that the model takes.
        differentiable: whether input gradients exist.
        module: the network behind `forward` (parameters frozen, eval mode), or None.
        features: images -> penultimate activations (N, D), or None where no such layer was found.
        head: last linear layer's weight (K, D) and bias (K,), or None.
        graph: serialised ONNX or other static graph for the graph check: a path, or None.
    """

    forward: Callable[[Tensor], Tensor]
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    device: torch.device
    preprocessing: Preprocessing
    differentiable: bool = True
    module: nn.Module | None = None
    features: Callable[[Tensor], Tensor] | None = None
    head: tuple[Tensor, Tensor] | None = None
    graph: str | None = None

    def __call__(self, images: Tensor) -> Tensor:
        return self.forward(images)

    def predict(self, images: Tensor) -> Tensor:
        """Logits (N, K) without gradients, in batches."""
        with torch.no_grad():
            return torch.cat([self.forward(part) for part in torch.split(images, batch_size(images.shape, 256))])


@dataclass(frozen=True)
class Samples:
    """Clean images and their labels, split once by the seed into a search part and a held-out part, both stratified.

    Attributes:
        images: uint8 (N, C, H, W), already at the model's size and channel count.
        labels: int64 (N,) indices into the model's outputs.
        search, held_out: index tensors into images; disjoint, and no image of one has the label and the
            pixels of one of the other; every class with two different images has one in each.
    """

    images: Tensor
    labels: Tensor
    search: Tensor
    held_out: Tensor
    notes: tuple[str, ...] = ()

    def part(self, which: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Images as float32 in [0, 1] (n, C, H, W) and labels (n,) of one part."""
        return (self.images[which].to(device).float() / 255, self.labels[which].to(device))


@dataclass(frozen=True)
class Scannable:
    """A loaded subject: classifier, samples, and the trusted reference network if the user named one."""

    classifier: Classifier
    samples: Samples
    reference: Classifier | None = None
    notes: tuple[str, ...] = field(default=())
