"""Small pictures with a transparent ground, drawn here from shapes: triggers that are objects, without anyone's art."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bdscan.errors import UsageError

SIDE = 96  # drawn large and shrunk to the size in use, so that edges come out soft
LUMA = (0.299, 0.587, 0.114)

Cutout = NDArray[np.float32]
Mask = NDArray[np.bool_]
Colour = tuple[float, float, float]

DOWN, RIGHT = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / (SIDE - 1)


def _oval(right: float, down: float, width: float, height: float, turn: float = 0.0) -> Mask:
    """An ellipse by its centre and half axes as shares of the side, turned by an angle in radians."""
    x, y = RIGHT - right, DOWN - down
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.asarray((along / width) ** 2 + (across / height) ** 2 <= 1)


def _paint(*layers: tuple[Mask, Colour]) -> Cutout:
    """RGBA (SIDE,SIDE,4) in [0,1]; later layers cover earlier ones."""
    picture = np.zeros((SIDE, SIDE, 4), np.float32)
    for shape, colour in layers:
        picture[shape] = (*colour, 1.0)
    return picture


def bomb() -> Cutout:
    """A round black bomb with a light rim, a highlight, a fuse and a spark."""
    spark = [(_oval(0.86, 0.12, 0.12, 0.03, turn), (1.0, 0.75, 0.1)) for turn in (0.0, 0.79, 1.57, 2.36)]
    return _paint(
        (_oval(0.42, 0.6, 0.4, 0.4), (0.45, 0.45, 0.5)),
        (_oval(0.42, 0.6, 0.36, 0.36), (0.07, 0.07, 0.1)),
        (_oval(0.3, 0.47, 0.11, 0.07, -0.8), (0.95, 0.95, 0.95)),
        (_oval(0.66, 0.33, 0.13, 0.09, 0.8), (0.45, 0.45, 0.5)),
        (_oval(0.76, 0.22, 0.13, 0.03, -0.8), (0.7, 0.5, 0.25)),
        *spark,
        (_oval(0.86, 0.12, 0.05, 0.05), (1.0, 1.0, 0.8)),
    )


def flower() -> Cutout:
    """Six red petals around a yellow eye, with a stem and a leaf."""
    angles = np.arange(6) * np.pi / 3
    petals = [
        (_oval(0.5 + 0.22 * np.cos(a), 0.36 + 0.22 * np.sin(a), 0.17, 0.12, a), (0.85 + 0.1 * (i % 2), 0.1, 0.2))
        for i, a in enumerate(angles)
    ]
    return _paint(
        (_oval(0.5, 0.76, 0.035, 0.24), (0.15, 0.5, 0.15)),
        (_oval(0.66, 0.8, 0.15, 0.06, -0.6), (0.2, 0.6, 0.2)),
        *petals,
        (_oval(0.5, 0.36, 0.12, 0.12), (1.0, 0.85, 0.15)),
    )


def figure() -> Cutout:
    """A small teal bear with a cream muzzle and belly."""
    teal, cream, dark = (0.1, 0.6, 0.6), (0.95, 0.9, 0.75), (0.1, 0.08, 0.08)
    return _paint(
        (_oval(0.22, 0.14, 0.13, 0.13), teal),
        (_oval(0.78, 0.14, 0.13, 0.13), teal),
        (_oval(0.22, 0.14, 0.06, 0.06), cream),
        (_oval(0.78, 0.14, 0.06, 0.06), cream),
        (_oval(0.16, 0.72, 0.16, 0.08, 0.7), teal),
        (_oval(0.84, 0.72, 0.16, 0.08, -0.7), teal),
        (_oval(0.5, 0.76, 0.28, 0.24), teal),
        (_oval(0.5, 0.78, 0.16, 0.16), cream),
        (_oval(0.5, 0.36, 0.36, 0.3), teal),
        (_oval(0.5, 0.46, 0.16, 0.12), cream),
        (_oval(0.36, 0.3, 0.05, 0.06), dark),
        (_oval(0.64, 0.3, 0.05, 0.06), dark),
        (_oval(0.5, 0.41, 0.06, 0.04), dark),
    )


PICTURES = {"bomb": bomb, "flower": flower, "figure": figure}


def cutout(picture: str) -> Cutout:
    """A picture of ours by name, or an image file with a transparent ground by its path."""
    if picture in PICTURES:
        return PICTURES[picture]()
    try:
        with Image.open(Path(picture)) as image:
            image.thumbnail((2 * SIDE, 2 * SIDE))
            return np.asarray(image.convert("RGBA")).astype(np.float32) / np.float32(255)
    except OSError as error:
        raise UsageError(f"no picture {picture!r} ({error}): name {', '.join(PICTURES)}, or an image file") from error


def shrunk(picture: Cutout, size: int, channels: int) -> tuple[Tensor, Tensor]:
    """The picture within a square of `size` pixels: colours (C,size,size) in [0,1] and opacity (size,size)."""
    if channels not in (1, 3):
        raise ValueError(f"pictures are grey or in colour: 1 or 3 channels, not {channels}")
    rgba = torch.from_numpy(picture).permute(2, 0, 1)
    side = max(rgba.shape[1:])
    above, left = (side - rgba.shape[1]) // 2, (side - rgba.shape[2]) // 2
    square = torch.zeros(1, 4, side, side)
    square[0, :, above : above + rgba.shape[1], left : left + rgba.shape[2]] = rgba
    square[:, :3] *= square[:, 3:]  # or the ground's colour would bleed into the edges
    small = functional.interpolate(square, (size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)
    colour = (small[:3] / small[3].clamp(min=1e-6)).clamp(0, 1)
    if channels == 1:
        colour = (colour * torch.tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    return colour, small[3]
