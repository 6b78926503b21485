"""A folder of class folders, decoded with Pillow."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from bdscan.errors import UsageError
from bdscan.intake.raw_samples import Image, RawSamples, chosen
from bdscan.settings import IMAGE_SUFFIXES

LONGEST_SIDE = 640  # photographs are scaled down on reading, so that many large ones fit in memory
# Pillow goes by content, not by name, and knows formats that call other programs (EPS: Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF", "GIF")
WHITE = 255
DEEPEST = 8  # folders in a class folder
MAX_FILES = 2_000_000


def read_folder(folder: Path, seed: int) -> RawSamples:
    """Class folders and their images; UsageError where there are none or one cannot be decoded."""
    files: list[Path] = []
    keys: list[str] = []
    notes: list[str] = []
    for sub in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        if not sub.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"--samples {folder}: the class folder {sub.name!r} is a link that leads elsewhere; copy it"
            )
        found = _images_below(sub, MAX_FILES - len(files))
        if not found:
            notes.append(f"folder {sub.name!r} holds no images and is left out")
        files += found
        keys += [sub.name] * len(found)
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


def _images_below(folder: Path, most: int) -> list[Path]:
    """Image files, sorted, folders by folders; links to folders are not followed."""
    found: list[Path] = []
    waiting, seen = [(folder, 0)], 0
    while waiting:
        here, depth = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting += [(Path(entry.path), depth + 1)] if depth < DEEPEST else []
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and _is_file(entry):
                    found.append(Path(entry.path))
                if len(found) > most or seen > 2 * MAX_FILES:
                    raise UsageError(f"--samples {folder.parent}: more than {MAX_FILES} images; give a smaller folder")
    return sorted(found)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _decode(path: Path) -> tuple[Image, bool]:
    """The image as uint8 (H, W, 1 or 3), and whether it was scaled down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path, formats=FORMATS) as opened:
                opened.draft(None, (LONGEST_SIDE, LONGEST_SIDE))
                picture = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I;16") or (picture.mode == "I" and int(np.asarray(picture).max()) > WHITE):
                    picture = Pillow.fromarray((np.asarray(picture) >> 8).clip(0, WHITE).astype(np.uint8))
                if picture.mode == "F":
                    raise ValueError("its pixels are fractions, of no known range: save it with 8 bits")
                if picture.mode not in ("L", "RGB"):
                    picture = picture.convert("L" if picture.mode in ("1", "I", "LA", "La") else "RGB")
                reduced = max(picture.size) > LONGEST_SIDE
                if reduced:
                    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Pillow.Resampling.BILINEAR)
                pixels = np.array(picture, dtype=np.uint8)
    except MemoryError:
        raise
    except PermissionError:
        where = "a link to what is no image of yours" if path.is_symlink() else "no right to read it"
        raise UsageError(f"image {path}: cannot be read ({where})") from None
    except Exception as error:  # Pillow meets hostile bytes: any type of error may come out
        raise UsageError(f"image {path}: cannot be decoded ({' '.join(str(error).split())[:120]})") from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels, reduced
