"""The evaluator against the PyTorch network it was exported from: outputs and input gradients.

The full matrix (eight torchvision networks) is slow: `pytest -m slow tests/onnx/test_networks.py`.
Tolerance: 2e-5 of the largest value, both for outputs and for gradients (float32 sums in another order).
Where a network has kinks in every layer, float32 gradients are not reproducible: PyTorch's own differ from its float64
ones by 2e-2 in vgg11_bn and 3e-3 in mobilenet_v2.  Their gradients are compared on a float64 export.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from network_exports import EXPORTERS, export, seeded, tiny_densenet, tiny_swin, tiny_vit
from torch import nn

from bdscan.onnx import check_against_onnxruntime, load_onnx, suspicious_branches

TOLERANCE = 2e-5
KINKED = ("vgg11_bn", "mobilenet_v2")
SMALL = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 32),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), 32),
    "densenet": (tiny_densenet, 32),
    "vit": (tiny_vit, 32),
    "swin": (tiny_swin, 32),
}
LARGE = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "vgg11_bn": 224,
    "efficientnet_b0": 64,
    "densenet121": 64,
    "convnext_tiny": 64,
    "vit_b_16": 224,
    "swin_t": 224,
}


def compare(
    network: nn.Module, size: int, path: Path, exporter: str, dynamic: bool, exact: bool = False
) -> tuple[float, float, float]:
    """Export for two images (or any number) and run three.

    `exact`: take the gradients on a float64 export.
    Returns the relative differences of the outputs, of the input gradients, and of the outputs from onnxruntime's.
    """
    x = torch.rand((3, 3, size, size), generator=torch.Generator().manual_seed(1))
    export(network, x[:2], path, exporter, dynamic)
    model = load_onnx(path)
    assert model.fixed_batch == (None if dynamic else 2)
    assert suspicious_branches(model.graph) == []
    with torch.no_grad():
        expected, got = network(x), model(x)
    runtime = check_against_onnxruntime(model, path, x.numpy()) / float(expected.abs().max())
    if exact:
        network, x = copy.deepcopy(network).double(), x.double()
        model = load_onnx(export(network, x[:2], path, exporter, dynamic))
    differences = relative(got, expected), relative(gradient(model, x), gradient(network, x)), runtime
    assert max(differences) < TOLERANCE
    return differences


def gradient(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    y = network(x)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    return torch.autograd.grad((y * direction).sum(), x)[0]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    assert float(b.abs().max()) > 0
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("exporter", ["default", "legacy-17"])
@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str, exporter: str, dynamic: bool, tmp_path: Path) -> None:
    build, size = SMALL[name]
    compare(seeded(build), size, tmp_path / "m.onnx", exporter, dynamic)


@pytest.mark.parametrize("opset", [11, 20])
def test_opsets_of_the_legacy_exporter(opset: int, tmp_path: Path) -> None:
    compare(seeded(tiny_swin), 32, tmp_path / "m.onnx", f"legacy-{opset}", True)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", LARGE)
def test_torchvision_networks(name: str, exporter: str, dynamic: bool, tmp_path: Path) -> None:
    network = seeded(getattr(torchvision.models, name), weights=None)
    compare(network, LARGE[name], tmp_path / "m.onnx", exporter, dynamic, name in KINKED)
