"""The transformations that a profile tries, each at several strengths."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from bdscan.detectors.inversion.families.blur import blur
from bdscan.mitigate import transforms

UNIT = 32  # pixels: the papers' images; on larger ones lengths in pixels grow with them


@dataclass(frozen=True)
class Transformation:
    """One transformation at one strength.

    Attributes:
        kind: its name, the same for all strengths.
        strength: the number that is varied.
        text: both in words.
        apply: images (N, C, H, W) in [0, 1] -> the same shape and range. Deterministic.
        fixed: linear in pixels and the same for every image, so that a guarded model can hold it.
    """

    kind: str
    strength: float
    text: str
    apply: Callable[[Tensor], Tensor]
    fixed: bool = False


def unit(shape: tuple[int, int, int]) -> int:
    """Pixels that stand for one pixel of the papers' 32x32 images, 1 for smaller ones."""
    return max(1, round(min(shape[1:]) / UNIT))


def transformations(shape: tuple[int, int, int], seed: int) -> tuple[Transformation, ...]:
    """All that images of `shape` (C, H, W) allow, weakest first within a kind."""
    return tuple(_all(shape, seed))


def _all(shape: tuple[int, int, int], seed: int) -> Iterator[Transformation]:
    one, side = unit(shape), min(shape[1:])
    yield Transformation("flip", 1, "flip left to right", transforms.flip, fixed=True)
    draw = random.Random(seed)
    for pixels in (one * n for n in (1, 2, 3, 4)):
        top, left = draw.randint(0, pixels), draw.randint(0, pixels)
        if pixels < side / 2:
            text = f"shrink by {pixels} px and pad, at ({left}, {top})"
            place = partial(transforms.shrink_pad, pixels=pixels, top=top, left=left)
            yield Transformation("shrink-pad", pixels, text, place, fixed=True)
    for sigma in (one * s for s in (0.5, 0.75, 1.0, 1.5, 2.0)):
        smooth = partial(blur, sigma=sigma)
        yield Transformation("blur", sigma, f"Gaussian blur, sigma {sigma:g} px", smooth, fixed=True)
    for factor in (0.96, 0.9, 0.75, 0.5, 0.33, 1.1, 1.5):
        if any(round(factor * size) not in (0, size) for size in shape[1:]):
            kind = "rescale down" if factor < 1 else "rescale up"
            scaled = partial(transforms.rescale, factor=factor)
            yield Transformation(kind, factor, f"scale to {factor:.0%} and back", scaled, fixed=True)
    for degrees in (2, 5, 10, 15):
        yield Transformation("rotate", degrees, f"rotate by {degrees}°", partial(transforms.rotate, degrees=degrees))
    if shape[0] in (1, 3):
        for quality in (90, 75, 50, 30, 10):
            squeezed = partial(transforms.jpeg, quality=quality)
            yield Transformation("jpeg", quality, f"JPEG, quality {quality}", squeezed)
    for level in (5, 10, 15, 20, 40):
        grainy = partial(transforms.noise, deviation=level / 255, seed=seed)
        yield Transformation("noise", level, f"Gaussian noise, deviation {level}/255", grainy)
    for factor in (0.6, 0.8, 1.2, 1.4):
        yield Transformation(
            "brightness", factor, f"brightness times {factor:g}", partial(transforms.brightness, factor=factor)
        )
    for factor in (0.6, 0.8, 1.2, 1.4):
        yield Transformation(
            "contrast", factor, f"contrast times {factor:g}", partial(transforms.contrast, factor=factor)
        )
    for factor in (0.0, 0.6, 1.4) if shape[0] == 3 else ():
        yield Transformation(
            "saturation", factor, f"saturation times {factor:g}", partial(transforms.saturation, factor=factor)
        )
    for bits in (5, 4, 3, 2, 1):
        text = f"colour depth {bits} bit{'s' if bits > 1 else ''} a channel"
        yield Transformation("depth", bits, text, partial(transforms.depth, bits=bits))
