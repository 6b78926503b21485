"""Files that cannot be used or judged, through the whole command: one line, and the documented exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bdscan.cli.main import app

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
ARCH = ["--arch", f"{FIXTURES / 'arch.py'}:digits_cnn"]
GOOD = FIXTURES / "clean-0.pt"
SAMPLES = FIXTURES / "samples.npz"


def scan(model: Path, *arguments: str, samples: Path = SAMPLES, isolated: bool = False):
    flags = [] if isolated else ["--no-isolation"]
    return CliRunner().invoke(app, ["scan", str(model), "--samples", str(samples), "--quiet", *flags, *arguments])


def weights(change):
    """The good fixture's weights after `change`."""
    state = torch.load(GOOD, weights_only=True)
    change(state)
    return state


def text_as_onnx(folder: Path):
    (folder / "m.onnx").write_text("<html>404 not found</html>\n")
    return scan(folder / "m.onnx")


def empty(folder: Path):
    (folder / "m.onnx").touch()
    return scan(folder / "m.onnx")


def truncated_onnx(folder: Path):
    content = (FIXTURES / "sig.onnx").read_bytes()
    (folder / "m.onnx").write_bytes(content[: len(content) // 2])
    return scan(folder / "m.onnx")


def truncated_weights(folder: Path):
    (folder / "m.pt").write_bytes(GOOD.read_bytes()[:3000])
    return scan(folder / "m.pt", *ARCH)


def no_arch(folder: Path):
    return scan(GOOD)


def other_arch(folder: Path):
    return scan(GOOD, "--arch", "torchvision:resnet18")


def unknown_arch(folder: Path):
    return scan(GOOD, "--arch", "torchvision:no_such_net")


def missing_key(folder: Path):
    torch.save(weights(lambda state: state.pop(next(iter(state)))), folder / "m.pt")
    return scan(folder / "m.pt", *ARCH)


def one_class(folder: Path):
    with np.load(SAMPLES) as archive:
        x, y = archive["x"], archive["y"]
    np.savez(folder / "s.npz", x=x[y == 0], y=y[y == 0])
    return scan(GOOD, *ARCH, samples=folder / "s.npz")


def too_many_classes(folder: Path):
    with np.load(SAMPLES) as archive:
        x, y = archive["x"], archive["y"]
    np.savez(folder / "s.npz", x=x, y=y + 5)
    return scan(GOOD, *ARCH, samples=folder / "s.npz")


def not_images(folder: Path):
    np.savez(folder / "s.npz", x=np.zeros((10, 7)), y=np.arange(10))
    return scan(GOOD, *ARCH, samples=folder / "s.npz")


def unknown_detector(folder: Path):
    return scan(GOOD, *ARCH, "--detectors", "steps,telepathy")


def nan_weights(folder: Path):
    torch.save(weights(lambda state: next(iter(state.values())).fill_(float("nan"))), folder / "m.pt")
    return scan(folder / "m.pt", *ARCH)


def wrong_labels(folder: Path):
    with np.load(SAMPLES) as archive:
        x, y = archive["x"], archive["y"]
    np.savez(folder / "s.npz", x=x, y=(y + 1) % 10)
    return scan(GOOD, *ARCH, samples=folder / "s.npz")


@pytest.mark.parametrize(
    "case, code, words",
    [
        (empty, 2, "is empty"),
        (text_as_onnx, 2, "m.onnx"),
        (truncated_onnx, 2, "m.onnx"),
        (truncated_weights, 2, "m.pt"),
        (no_arch, 2, "--arch"),
        (other_arch, 2, "conv1.weight"),
        (unknown_arch, 2, "no_such_net"),
        (missing_key, 2, "missing"),
        (one_class, 2, "class"),
        (too_many_classes, 2, "label 14"),
        (not_images, 2, "uint8"),
        (unknown_detector, 2, "telepathy"),
        (nan_weights, 3, "NaN"),
        (wrong_labels, 3, "accura"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_clear_line_and_the_documented_code(tmp_path, case, code, words):
    result = case(tmp_path)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("bdscan: ")
    assert "--debug" not in result.stderr
    assert words in result.stderr


def test_the_same_line_comes_from_the_worker(tmp_path):
    (tmp_path / "m.onnx").write_text("<html>404 not found</html>\n")
    apart, here = scan(tmp_path / "m.onnx", isolated=True), scan(tmp_path / "m.onnx")
    assert (apart.exit_code, apart.stderr) == (here.exit_code, here.stderr)
