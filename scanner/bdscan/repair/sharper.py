"""The kinds of trigger that can be sharpened, in one list."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bdscan.repair.planted import Planted
from bdscan.repair.sharp_patches import patches
from bdscan.repair.sharp_patterns import patterns
from bdscan.repair.sharp_warps import warps
from bdscan.repair.sharp_waves import sines
from bdscan.repair.sharpen import MOST, Sharp


def sharper(
    triggers: Sequence[Planted], images: Tensor, labels: Tensor, seed: int, most_patches: int = MOST
) -> list[Sharp]:
    """What can be driven of these triggers; images (N, C, H, W) in [0, 1] with labels (N,)."""
    return [
        *patches(triggers, images, labels, seed, most_patches),
        *warps(triggers, images, labels),
        *patterns(triggers, images, labels),
        *sines(triggers, images, labels),
    ]
