"""The zoo's networks. Each factory takes no arguments, so that `--arch networks.py:mnist_cnn` names it.

All take float images (N,C,H,W) and return logits (N,K). This file imports torch alone: it is also read on its own.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU()]


def mnist_cnn() -> nn.Module:
    """Isolate Trigger's MNIST network (section IV.A): 3 Conv + 2 FC, 413,782 parameters (413,882 in the paper)."""
    return nn.Sequential(
        *_conv(1, 32, 0),
        nn.MaxPool2d(2),
        *_conv(32, 64, 0),
        nn.MaxPool2d(2),
        *_conv(64, 128),
        nn.Flatten(),
        nn.Linear(128 * 5 * 5, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def gtsrb_cnn() -> nn.Module:
    """Isolate Trigger's GTSRB network (section IV.A): 6 Conv + 2 FC, 571,723 parameters as in the paper."""
    layers: list[nn.Module] = []
    width = 3
    for wider in (32, 64, 128):
        layers += [*_conv(width, wider), *_conv(wider, wider, 0), nn.MaxPool2d(2), nn.Dropout(0.1)]
        width = wider
    head = [nn.Flatten(), nn.Linear(128 * 2 * 2, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 43)]
    model = nn.Sequential(*layers, *head)
    for layer in model:  # without batch-norm torch's own start is too small: 86 % after ten epochs instead of 96 %
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


class Block(nn.Module):
    """Two 3x3 convolutions with batch-norm and a shortcut; a 1x1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def _resnet(widths: tuple[int, ...], blocks: int, classes: int = 10) -> nn.Module:
    """A residual network for 32x32 colour images: 3x3 stem without pooling, then stages of `blocks` blocks."""
    stem = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(*stem))
    inputs = widths[0]
    for stage, width in enumerate(widths):
        parts = [Block(inputs if i == 0 else width, width, 2 if stage and not i else 1) for i in range(blocks)]
        layers[f"layer{stage + 1}"] = nn.Sequential(*parts)
        inputs = width
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)


def resnet8_cifar() -> nn.Module:
    """Three stages of one block, widths 16, 32 and 64: 78,042 parameters, made for a few minutes on one core."""
    return _resnet((16, 32, 64), 1)


def resnet8_wide_cifar() -> nn.Module:
    """Three stages of one block, widths 32, 64 and 128: 308,650 parameters."""
    return _resnet((32, 64, 128), 1)


def resnet14_cifar() -> nn.Module:
    """Three stages of two blocks, widths 16, 32 and 64: 175,258 parameters."""
    return _resnet((16, 32, 64), 2)


def resnet18_cifar() -> nn.Module:
    """ResNet-18 with the CIFAR stem: four stages of two blocks, widths 64 to 512, 11.2 million parameters."""
    return _resnet((64, 128, 256, 512), 2)


def yaleb_vgg() -> nn.Module:
    """A small VGG-like network for grey 224x224 faces of 38 people; strided stem, batch-norm."""
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 5, 4, 2), nn.BatchNorm2d(16), nn.ReLU()]  # 224 -> 56
    width = 16
    for wider in (32, 64, 96, 128):  # 56 -> 28 -> 14 -> 7 -> 3
        layers += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    head = [nn.Flatten(), nn.Linear(128 * 3 * 3, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 38)]
    return nn.Sequential(*layers, *head)


def digits_cnn() -> nn.Module:
    """A tiny network for 16x16 grey digits without batch-norm: 21,706 parameters."""
    return nn.Sequential(
        *_conv(1, 12),
        nn.MaxPool2d(2),
        *_conv(12, 24),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 4 * 4, 48),
        nn.ReLU(),
        nn.Linear(48, 10),
    )


def digits_bn() -> nn.Module:
    """A tiny network for 16x16 grey digits with batch-norm and average pooling: 11,946 parameters."""
    layers: list[nn.Module] = []
    width = 1
    for wider, stride in ((16, 1), (24, 2), (32, 2)):
        layers += [nn.Conv2d(width, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
        width = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32 * 4, 10))
