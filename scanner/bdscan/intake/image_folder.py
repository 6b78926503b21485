"""A folder of class folders, decoded with Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from bdscan.errors import UsageError
from bdscan.intake.raw_samples import Image, RawSamples, chosen
from bdscan.settings import IMAGE_SUFFIXES

LONGEST_SIDE = 640  # photographs are scaled down on reading, so that many large ones fit in memory
MAX_FILES = 2_000_000


def read_folder(folder: Path, seed: int) -> RawSamples:
    """Class folders and their images; UsageError where there are none or one cannot be decoded."""
    files: list[Path] = []
    keys: list[str] = []
    notes: list[str] = []
    for sub in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        found = sorted(path for path in sub.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        if not found:
            notes.append(f"folder {sub.name!r} holds no images and is left out")
        files += found
        keys += [sub.name] * len(found)
        if len(files) > MAX_FILES:
            raise UsageError(f"--samples {folder}: more than {MAX_FILES} images; give a smaller folder")
    if not files:
        raise UsageError(f"--samples {folder}: no class folders with images; expected {folder.name}/CLASS/IMAGE.png")
    used, dropped = chosen(keys, seed)
    images = []
    shrunk = 0
    for place in used:
        image, reduced = _decode(files[place])
        images.append(image)
        shrunk += reduced
    if shrunk:
        notes.append(f"{shrunk} images larger than {LONGEST_SIDE} pixels were scaled down on reading")
    return RawSamples(tuple(images), tuple(keys[place] for place in used), None, True, (*notes, *dropped))


def _decode(path: Path) -> tuple[Image, bool]:
    """The image as uint8 (H, W, 1 or 3), and whether it was scaled down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as opened:
                opened.draft(None, (LONGEST_SIDE, LONGEST_SIDE))
                picture = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I;16"):
                    picture = Pillow.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
                if picture.mode not in ("L", "RGB"):
                    picture = picture.convert("L" if picture.mode in ("1", "I", "F", "LA", "La") else "RGB")
                reduced = max(picture.size) > LONGEST_SIDE
                if reduced:
                    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Pillow.Resampling.BILINEAR)
                pixels = np.array(picture, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombWarning, Pillow.DecompressionBombError) as error:
        raise UsageError(f"image {path}: cannot be decoded ({' '.join(str(error).split())[:120]})") from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels, reduced
