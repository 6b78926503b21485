"""Which of a network's outputs are the classes' scores, and what kind of scores they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from bdscan.errors import CannotJudge

OutputKind = Literal["logits", "probabilities", "log-probabilities"]
TINY = 1e-12


def class_scores(output: Any, images: int) -> Tensor:
    """The first float tensor of shape (N, K >= 2) in what a network returned; CannotJudge where there is none."""
    shapes = []
    for value in _tensors(output):
        if value.is_floating_point():
            scores = value.flatten(1) if value.ndim == 4 and value.shape[2:] == (1, 1) else value
            if scores.ndim == 2 and scores.shape[0] == images and scores.shape[1] >= 2:
                return scores
        shapes.append(tuple(value.shape))
    if any(shape in ((images, 1), (images,)) for shape in shapes):
        raise CannotJudge(
            "not a classifier with one output per class: a single output per image (regression, or a sigmoid for two "
            "classes); export it with two outputs to scan it"
        )
    listed = ", ".join(map(str, shapes[:4])) or "none"
    raise CannotJudge(f"not an image classifier: no output of shape (images, classes); output shapes: {listed}")


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        ordered = sorted(output.items(), key=lambda item: item[0] not in ("logits", "out", "output"))
        return [tensor for _, value in ordered for tensor in _tensors(value)]
    if isinstance(output, list | tuple):
        return [tensor for value in output for tensor in _tensors(value)]
    return []


def output_kind(scores: Tensor) -> OutputKind:
    """What scores (N, K) are. Rows of probabilities sum to 1; so do the exponentials of log-probabilities."""
    scores = scores.double()
    if scores.min() >= -1e-6 and scores.max() <= 1 + 1e-3 and torch.allclose(scores.sum(1), _ones(scores), atol=2e-3):
        return "probabilities"
    if scores.max() <= 1e-3 and torch.allclose(scores.exp().sum(1), _ones(scores), atol=2e-3):
        return "log-probabilities"
    return "logits"


def _ones(scores: Tensor) -> Tensor:
    return torch.ones(len(scores), dtype=scores.dtype, device=scores.device)


def as_log_probabilities(scores: Tensor) -> Tensor:
    """Scores of any kind as log-probabilities (N, K)."""
    kind = output_kind(scores)
    if kind == "probabilities":
        return scores.clamp_min(TINY).log()
    return scores if kind == "log-probabilities" else scores.log_softmax(1)
