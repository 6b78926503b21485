"""Driving: the largest margin that a patch reaches over given cells, for many pairs of classes at once.

Inversion asks for the smallest change, which for a few images of one source is often an adversarial example. A planted
trigger is more than that: with its cells free it carries the source's images far beyond the boundary, unseen ones too,
and at these cells it does so to its own target alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.inversion.families import sparse
from bdscan.intake.classifier import Classifier, batch_size

STEPS = 20
RATE = 0.5  # Adam's
SHARE = 0.04  # of the image's cells: planted patches have one to four percent, and all pairs get as much room


def cells(change: Tensor, share: float = SHARE) -> Tensor:
    """The cells of a sparse trigger, (C, h, w), whose neighbourhoods it changes most: bool (h, w), `share` of them."""
    size = change.abs().amax(0)
    around = F.avg_pool2d(size[None, None], 3, 1, 1)[0, 0] + 1e-4 * size  # of equal neighbourhoods the cell itself
    chosen = around.flatten().topk(max(round(share * size.numel()), 1)).indices
    return torch.zeros(size.numel(), dtype=torch.bool, device=size.device).scatter_(0, chosen, True).view(size.shape)


def drive(
    classifier: Classifier, where: Tensor, images: Tensor, targets: Tensor, seed: int, steps: int = STEPS
) -> Tensor:
    """Patches (L, C, h, w) in [0, 1] that raise the mean margin of `targets` (L,) on their own images.

    Args:
        where: bool (h, w), the cells that a patch replaces, the same for all.
        images: (L, n, C, H, W) in [0, 1].
        seed: of the patches that the ascent begins with.
    """
    generator = torch.Generator().manual_seed(seed)
    count, each = images.shape[:2]
    shape = (count, classifier.shape[0], *where.shape)
    values = 0.5 * torch.randn(shape, generator=generator).to(images.device)
    first, second = torch.zeros_like(values), torch.zeros_like(values)
    rows = max(1, batch_size(classifier.shape, 512) // each)
    for step in range(1, steps + 1):
        for part in torch.split(torch.arange(count, device=images.device), rows):
            leaf = values[part].requires_grad_()
            stamped = replace(images[part], where, torch.sigmoid(leaf))
            reached = margins(classifier(stamped.flatten(0, 1)), targets[part].repeat_interleave(each))
            (gradient,) = torch.autograd.grad(reached.sum() / each, leaf)
            gradient = torch.nan_to_num(gradient)
            first[part] = 0.5 * first[part] + 0.5 * gradient
            second[part] = 0.9 * second[part] + 0.1 * gradient.square()
        mean, spread = first / (1 - 0.5**step), (second / (1 - 0.9**step)).sqrt()
        values = values.detach() + RATE * mean / (spread + 1e-8)
    return torch.sigmoid(values)


def replace(images: Tensor, where: Tensor, patches: Tensor) -> Tensor:
    """Images (L, n, C, H, W) with the cells `where` (h, w) of the patches (L, C, h, w) in the place of theirs."""
    mask = sparse.spread(where.to(images.dtype)[None, None], images)
    return images + mask * (sparse.spread(patches, images) - images)


def margins(logits: Tensor, targets: Tensor) -> Tensor:
    """f_t - max_{j != t} f_j of each row, (N,)."""
    own = logits.gather(1, targets[:, None])[:, 0]
    return own - (logits - 1e9 * F.one_hot(targets, logits.shape[1])).amax(1)
