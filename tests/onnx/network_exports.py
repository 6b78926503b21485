"""Exports for the tests: both exporters, fixed and dynamic batch, and small networks of the large families."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import densenet, swin_transformer, vision_transformer

EXPORTERS = ("default", "legacy-14", "legacy-17", "legacy-20")


def export(network: nn.Module, x: Tensor, path: Path, exporter: str = "legacy-17", dynamic: bool = False) -> Path:
    """Write `network` with `default` (opset 20, sidecar) or `legacy-OPSET`, for the batch of x or for any."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "default":
            shapes = ({0: torch.export.Dim("n")},) if dynamic else None
            torch.onnx.export(network, (x,), path, dynamic_shapes=shapes, verbose=False, opset_version=20)
        else:
            axes = {"x": {0: "n"}, "y": {0: "n"}} if dynamic else None
            opset = int(exporter.removeprefix("legacy-"))
            torch.onnx.export(
                network,
                (x,),
                path,
                dynamo=False,
                opset_version=opset,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes=axes,
            )
    return path


def seeded(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    """A network in evaluation mode with random weights and batch statistics.

    What is constant after initialisation (a head of zeros, a layer scale of 1e-6) gets noise: it would hide errors.
    """
    torch.manual_seed(0)
    network = build(**options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and parameter.std() == 0:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def tiny_vit() -> nn.Module:
    return vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10
    )


def tiny_swin() -> nn.Module:
    """Shifted windows, masks and patch merging, as in swin_t."""
    return swin_transformer.SwinTransformer(
        patch_size=[2, 2],
        embed_dim=12,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=[4, 4],
        stochastic_depth_prob=0.0,
        num_classes=10,
    )


def tiny_densenet() -> nn.Module:
    return densenet.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=10)
