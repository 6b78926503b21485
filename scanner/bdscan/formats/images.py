"""PNGs inside a report: whether they are PNGs, how large, and how far to enlarge them. Nothing is decoded here."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
LARGEST: Final = 4096  # pixels a side; a few bytes of PNG can ask a viewer for gigabytes


@dataclass(frozen=True)
class Image:
    uri: str
    width: int
    height: int
    pixelated: bool


def image(png: str, side: int) -> Image | None:
    """`png` (base64) for a place `side` pixels wide and high, enlarged by whole factors or shrunk to fit.

    None where it is no PNG or larger than `LARGEST` a side.
    """
    size = _size(png)
    if size is None or not all(1 <= pixels <= LARGEST for pixels in size):
        return None
    width, height = size
    longest = max(width, height)
    if longest <= side:
        factor = side // longest
        return Image(f"data:image/png;base64,{png}", width * factor, height * factor, factor > 1)
    return Image(
        f"data:image/png;base64,{png}",
        max(1, width * side // longest),
        max(1, height * side // longest),
        pixelated=False,
    )


def _size(png: str) -> tuple[int, int] | None:
    """Width and height from the header: 8 bytes of signature, 4 of length, `IHDR`, then two big-endian integers."""
    try:
        head = base64.b64decode(png[:32], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(head) < 24 or not head.startswith(SIGNATURE) or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)
