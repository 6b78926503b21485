"""What the layers of a network answer, and how far a student's answers moved from the original's.

Ten classes' probabilities on fifty images say little about what a network does on others; its layers' answers say far
more (hints, Romero et al. 2015). Held to them on clean images, a student unlearns the trigger and little else.
TorchScript runs unseen; there nothing is held.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bdscan.intake.calls import Layers
from bdscan.intake.classifier import Classifier


def answered(classifier: Classifier, images: Tensor, watch: bool) -> tuple[Tensor, list[Tensor]]:
    """Logits of images (N, C, H, W), and its layers' answers, which are large: none where they are not watched."""
    if not watch:
        return classifier(images), []
    with Layers() as seen:
        logits = classifier(images)
    return logits, seen.results


def moved(now: Sequence[Tensor], usual: Sequence[Tensor], rows: Tensor) -> Tensor | None:
    """Mean over layers of the squared change of their answers, relative to the answers' own mean square.

    Args:
        now: the student's, of images (M, ...) of which the first N are the original's.
        usual: the original's (N, ...).
        rows: bool (N,), images that count.

    Returns None where there is nothing to compare: no layer was watched or seen, or a graph takes its batch in pieces.
    """
    if not usual or len(now) != len(usual) or not bool(rows.any()):
        return None
    parts = []
    for own, original in zip(now, usual, strict=True):
        if len(original) != len(rows) or own.shape[1:] != original.shape[1:]:
            return None
        wanted = original[rows].float()
        change = own[: len(rows)][rows].float() - wanted
        parts.append(change.square().mean() / wanted.square().mean().clamp(min=1e-12))
    return torch.stack(parts).mean()
