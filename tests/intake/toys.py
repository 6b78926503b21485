"""Images whose class is the bright quarter, and networks that see it, so that no test has to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bdscan.intake import Intake, load
from bdscan.settings import Settings

CLASSES = 4


def quarters(per_class: int = 6, size: int = 8, channels: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (N, size, size, channels) with noise, and labels 0 to 3."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), per_class)
    images = rng.integers(0, 90, (len(labels), size, size, channels))
    half = size // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 130
    return images.astype(np.uint8), labels.astype(np.int64)


def write_npz(path: Path, **changes: np.ndarray) -> Path:
    x, y = quarters()
    np.savez(path, **({"x": x, "y": y} | changes))
    return path


def templates(size: int = 8, channels: int = 1, classes: int = CLASSES, gain: float = 1.0) -> Tensor:
    """Weight (classes, channels * size * size) of a linear layer that sees the bright quarter."""
    weight = torch.full((classes, channels, size, size), -0.02)
    half = size // 2
    for label in range(min(classes, CLASSES)):
        row, column = divmod(label, 2)
        weight[label, :, row * half : (row + 1) * half, column * half : (column + 1) * half] = 0.06
    return gain * weight.flatten(1)


def linear(size: int = 8, channels: int = 1, classes: int = CLASSES, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(channels * size * size, classes)
    layer.weight.data = templates(size, channels, classes, gain)
    layer.bias.data = torch.linspace(0, 0.01, classes)
    return layer


def toy(size: int = 8, channels: int = 1, classes: int = CLASSES, gain: float = 1.0) -> nn.Sequential:
    """A whole module of torch.nn's own classes: logits (N, classes) from images (N, channels, size, size)."""
    return nn.Sequential(nn.Flatten(), linear(size, channels, classes, gain)).eval()


ARCH = """
import torch
from torch import nn
def toy():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 4))
def sized(num_classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
def raises():
    raise OSError("no such\\ndisk")
def number():
    return 7
"""


def write_arch(path: Path) -> Path:
    path.write_text(ARCH)
    return path


def load_toy(folder: Path, model: Path | None = None, **settings: object) -> Intake:
    """Load a model file (a whole toy module unless one is given) with toy samples."""
    if model is None:
        model = folder / "toy.pt"
        torch.save(toy(), model)
    if "samples" not in settings:
        settings["samples"] = str(write_npz(folder / "samples.npz"))
    return load(Settings(model=str(model), device="cpu", **settings))  # type: ignore[arg-type]
