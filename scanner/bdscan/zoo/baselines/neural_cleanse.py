"""Neural Cleanse (Wang et al. 2019), and P0's adaptive version of it (5.2), plainly.

A mask m and a pattern p for each label, x' = (1 - m) x + m p; cross-entropy plus a weight times the mask's L1, the
weight raised by 1.5 while the success goal holds and lowered otherwise. The adaptive version adds the loss of the same
trigger at a lower opacity. The paper's goal is 99 %, its alarm an anomaly index above 2 of a label below the median.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.detectors.robust import Array, classic_index
from bdscan.intake.classifier import Classifier, batch_size
from bdscan.zoo.baselines.verdict import Verdict

GOAL, FACTOR, PATIENCE = 0.99, 1.5, 4
RATE, WEIGHT = 0.1, 1e-3
ALARM = 2.0
LOWER = 0.5  # opacity of the weaker copy; P0 grants that the defender would have to know the attacker's


@dataclass(frozen=True)
class Inverted:
    """Of K labels: the mask's L1 in pixels (K,), its values (K,1,H,W) and the pattern (K,C,H,W) in [0,1]."""

    sizes: Array
    masks: Tensor
    patterns: Tensor

    def stamp(self, label: int, images: Tensor) -> Tensor:
        """Images (N,C,H,W) in [0,1] with this label's trigger."""
        mask = self.masks[label].to(images.device)
        return images * (1 - mask) + mask * self.patterns[label].to(images.device)


def verdict(sizes: Array) -> Verdict:
    """The anomaly index of the smallest mask, as score; above 2 it alarms."""
    index = classic_index(sizes)
    target = int(index.argmax())
    return Verdict(float(index[target]), bool(index[target] > ALARM), target)


def inverted(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    iterations: int,
    per_step: int,
    adaptive: bool = False,
    seed: int = 0,
) -> Inverted:
    """For each label the smallest mask that reached the goal; the last one, with the size of all pixels, if none did.

    All labels in one batch, `per_step` images (N,C,H,W) in [0,1] of other classes a step and label.
    """
    classes, device = len(classifier.classes), images.device
    channels, height, width = classifier.shape
    draw = torch.Generator().manual_seed(seed)
    mask = torch.full((classes, 1, height, width), -2.0, device=device).requires_grad_()
    pattern = torch.rand((classes, channels, height, width), generator=draw).sub(0.5).to(device).requires_grad_()
    optimiser = torch.optim.Adam([mask, pattern], RATE, betas=(0.5, 0.9))
    weight = torch.full((classes,), WEIGHT, device=device)
    best = torch.full((classes,), float(height * width), device=device)
    kept = [torch.sigmoid(one.detach()) for one in (mask, pattern)]
    found = torch.zeros(classes, dtype=torch.bool, device=device)
    others = [(labels != k).nonzero()[:, 0] for k in range(classes)]
    rows = max(1, batch_size(classifier.shape, 512) // per_step)
    hits = torch.zeros(classes, device=device)
    for i in range(iterations):
        optimiser.zero_grad()
        for part in torch.split(torch.arange(classes), rows):
            picks = [others[int(k)][torch.randint(len(others[int(k)]), (per_step,), generator=draw)] for k in part]
            clean, wanted = images[torch.stack(picks)], part.to(device).repeat_interleave(per_step)
            m, p = torch.sigmoid(mask[part])[:, None], torch.sigmoid(pattern[part])[:, None]
            losses = []
            for opacity in (1.0, LOWER) if adaptive else (1.0,):
                logits = classifier((clean + opacity * m * (p - clean)).flatten(0, 1)).float()
                losses.append(functional.cross_entropy(logits, wanted, reduction="none").view(-1, per_step).mean(1))
                if opacity == 1.0:
                    hits[part] += (logits.argmax(1) == wanted).float().view(-1, per_step).mean(1).detach()
            loss = torch.stack(losses).mean(0) + weight[part] * m.flatten(1).sum(1)
            torch.autograd.backward(loss.sum())
        if (i + 1) % PATIENCE == 0:
            reached, size = hits / PATIENCE >= GOAL, torch.sigmoid(mask.detach()).flatten(1).sum(1)
            better = reached & (size < best)
            best = torch.where(better, size, best)
            found |= better
            for old, now in zip(kept, (mask, pattern), strict=True):
                change = better | ~found  # the latest where the goal was never reached
                old[change] = torch.sigmoid(now.detach()[change])
            weight = torch.where(reached, weight * FACTOR, weight / FACTOR**1.5)
            hits.zero_()
        optimiser.step()
    return Inverted(best.cpu().double().numpy(), kept[0].cpu(), kept[1].cpu())
