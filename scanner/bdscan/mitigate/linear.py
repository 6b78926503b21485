"""A fixed transformation as two matrices: what a guarded model computes, in either format.

Flip, blur, rescaling and shrink-pad work on rows and columns apart and are linear: images -> rows @ images @ columns.
The matrices are read off the transformation itself, so there is one definition of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 16
SAME = 1e-5


@dataclass(frozen=True)
class Linear:
    """rows (H, H) from the left, columns (W, W) from the right of images (N, C, H, W).

    Attributes:
        keeps_constants: an image of one value stays as it is, so that the range of the pixels does not matter.
    """

    rows: Tensor
    columns: Tensor

    @property
    def keeps_constants(self) -> bool:
        return all(bool(((m - 1).abs() < SAME).all()) for m in (self.rows.sum(1), self.columns.sum(0)))


def separated(apply: Callable[[Tensor], Tensor], shape: tuple[int, int, int]) -> Linear:
    """The matrices of `apply` for images of `shape` (C, H, W)."""
    _, height, width = shape
    rows = _responses(apply, height, width)
    columns = _responses(lambda x: apply(x.mT).mT, width, height)
    return Linear(rows, columns.T.contiguous())


def _responses(apply: Callable[[Tensor], Tensor], size: int, other: int) -> Tensor:
    """(size, size): column j is what comes of row j alone, seen where the other axis is whole (not in a pad)."""
    lines = torch.eye(size)[:, None, :, None]
    seen = torch.cat([apply(part.expand(-1, -1, -1, other).contiguous()) for part in torch.split(lines, CHUNK)])
    whole = int(seen.sum((0, 1, 2)).argmax())
    return seen[:, 0, :, whole].T.contiguous()
