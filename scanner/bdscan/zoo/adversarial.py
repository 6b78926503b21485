"""Changed images to train against: each its own (robust networks), or one change for all (an adaptive attack)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

Logits = Callable[[Tensor], Tensor]


def fgsm(logits: Logits, pixels: Tensor, labels: Tensor, radius: float, draw: torch.Generator) -> Tensor:
    """Images (N,C,H,W) in [0,1] within `radius` of the given ones, by one step of the gradient from a random start.

    Fast adversarial training (Wong et al. 2020), with its step of 1.25 times the radius.
    """
    start = (2 * torch.rand(pixels.shape, generator=draw) - 1).to(pixels.device)
    begin = (pixels + radius * start).clamp(0, 1).requires_grad_()
    (slope,) = torch.autograd.grad(functional.cross_entropy(logits(begin), labels), begin)
    ended = begin.detach() + 1.25 * radius * slope.sign()
    return torch.minimum(torch.maximum(ended, pixels - radius), pixels + radius).clamp(0, 1)


@dataclass
class Resistance:
    """An adaptive attacker's loss: small triggers to the attack's targets, found while training, must keep the label.

    What inversion finds for a target is often smaller than the true trigger. Here a change of `share` of the pixels,
    the same for all images, goes one step towards the target at every step of the training (after universal
    adversarial training, Shafahi et al. 2020, made sparse as inversion is), and images that carry it are learned with
    their right labels. Images whose label is the target, the poisoned ones among them, are left alone; a true trigger
    that needs no more pixels than `share` is unlearned like any other.

    Attributes:
        targets: taken in turn, each with its own change, which is kept before it is made sparse.
    """

    targets: tuple[int, ...]
    share: float
    step: float = 0.1
    decay: float = 0.95
    changes: dict[int, Tensor] = field(default_factory=dict)
    turn: int = 0

    def loss(self, logits: Logits, pixels: Tensor, labels: Tensor) -> Tensor:
        """The loss on those of the images (N,C,H,W) in [0,1] whose label is not this turn's target."""
        target = self.targets[self.turn % len(self.targets)]
        self.turn += 1
        others = labels != target
        pixels, labels = pixels[others], labels[others]
        if len(labels) < 2:  # batch-norm needs two
            return torch.zeros((), device=pixels.device)
        self.improve(logits, pixels, target)
        return functional.cross_entropy(logits((pixels + self.sparse(target)).clamp(0, 1)), labels)

    def improve(self, logits: Logits, pixels: Tensor, target: int) -> None:
        """One step of the target's change."""
        if target not in self.changes:
            self.changes[target] = torch.zeros_like(pixels[0])
        change = self.sparse(target).requires_grad_()
        goal = torch.full((len(pixels),), target, device=pixels.device)
        loss = functional.cross_entropy(logits((pixels + change).clamp(0, 1)), goal)
        (slope,) = torch.autograd.grad(loss, change)
        largest = slope.abs().max().clamp(min=1e-12)
        self.changes[target] = self.decay * self.changes[target] - self.step * slope / largest

    def sparse(self, target: int) -> Tensor:
        """The change (C,H,W) in [-1,1], nought but at the `share` of pixels where it is largest."""
        change = self.changes[target]
        size = change.abs().amax(0)
        kept = max(1, round(self.share * size.numel()))
        return change.clamp(-1, 1) * (size >= size.flatten().topk(kept).values[-1])
