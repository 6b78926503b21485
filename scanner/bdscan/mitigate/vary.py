"""A trigger changed: moved, resized, recoloured. All from its stamp alone, so every family can be varied.

A stamp's change depends on the image under it. So a moved trigger is the stamp on the image moved the other way, and
its change moved back: exact for patches and patterns, and nothing changes for a trigger that has no place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.detectors.inversion.restore import Stamp

Recolour = Callable[[Tensor], Tensor]


def centre(stamp: Stamp, images: Tensor) -> tuple[float, float]:
    """(x, y) of the mean change's centre of mass, in pixels; the image's centre where there is no change."""
    change = (stamp(images, 1.0) - images).abs().mean((0, 1)).double()
    height, width = change.shape
    mass = float(change.sum())
    if mass == 0:
        return (width - 1) / 2, (height - 1) / 2
    along = torch.arange(width, device=change.device, dtype=torch.float64)
    down = torch.arange(height, device=change.device, dtype=torch.float64)
    return float((change.sum(0) * along).sum() / mass), float((change.sum(1) * down).sum() / mass)


def shifted(stamp: Stamp, images: Tensor, right: float, down: float) -> Tensor:
    """Images (N, C, H, W) with the trigger moved by pixels; what leaves the image is lost."""
    return _moved(stamp, images, 1.0, (right, down), (0.0, 0.0))


def resized(stamp: Stamp, images: Tensor, factor: float, about: tuple[float, float]) -> Tensor:
    """Images with the trigger's change `factor` times as wide and high, about a point (x, y) in pixels."""
    return _moved(stamp, images, factor, (0.0, 0.0), about)


def recoloured(stamp: Stamp, images: Tensor, recolour: Recolour) -> Tensor:
    """Images with `recolour` of the trigger's change (N, C, H, W) in [-1, 1] in its place."""
    return (images + recolour(stamp(images, 1.0) - images)).clamp(0, 1)


def colours(channels: int) -> dict[str, Recolour]:
    """Recolourings by name."""
    always: dict[str, Recolour] = {"inverted": lambda change: -change}
    if channels != 3:
        return always
    return always | {
        "grey": lambda change: change.mean(1, keepdim=True).expand_as(change),
        "red as green as blue": lambda change: change.roll(1, 1),
        "red as blue as green": lambda change: change.roll(2, 1),
    }


def _moved(stamp: Stamp, images: Tensor, factor: float, by: tuple[float, float], about: tuple[float, float]) -> Tensor:
    """The change at a pixel q goes to factor (q - about) + about + by."""
    under = _sampled(images, factor, _offset(images, factor, by, about), "border")
    back = tuple(-o / factor for o in _offset(images, factor, by, about))
    change = _sampled(stamp(under, 1.0) - under, 1 / factor, back, "zeros")
    return (images + change).clamp(0, 1)


def _offset(images: Tensor, factor: float, by: tuple[float, float], about: tuple[float, float]) -> tuple[float, ...]:
    """In grid_sample's coordinates, where -1 and 1 are the outer edges of the first and last pixel."""
    sizes = (images.shape[3], images.shape[2])
    return tuple(
        (1 - factor) * ((2 * a + 1) / size - 1) + 2 * b / size for a, b, size in zip(about, by, sizes, strict=True)
    )


def _sampled(images: Tensor, factor: float, offset: tuple[float, ...], outside: str) -> Tensor:
    """Each output at u has the input at factor u + offset."""
    theta = torch.tensor([[factor, 0.0, offset[0]], [0.0, factor, offset[1]]], dtype=torch.float64)
    grid = functional.affine_grid(theta[None], [1, 1, *images.shape[2:]], align_corners=False).to(images)
    return functional.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), padding_mode=outside, align_corners=False
    )
