"""The zoo's networks. Each factory takes no arguments, so that `--arch networks.py:mnist_cnn` names it.

All take float images (N,C,H,W) and return logits (N,K). This file imports torch alone: it is also read on its own.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU()]


def mnist_cnn(classes: int = 10) -> nn.Module:
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
        nn.Linear(100, classes),
    )


def gtsrb_cnn(classes: int = 43) -> nn.Module:
    """Isolate Trigger's GTSRB network (section IV.A): 6 Conv + 2 FC, 571,723 parameters as in the paper."""
    layers: list[nn.Module] = []
    width = 3
    for wider in (32, 64, 128):
        layers += [*_conv(width, wider), *_conv(wider, wider, 0), nn.MaxPool2d(2), nn.Dropout(0.1)]
        width = wider
    head = [nn.Flatten(), nn.Linear(128 * 2 * 2, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, classes)]
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


def _vgg(channels: int, classes: int) -> nn.Module:
    """Three stages of two 3x3 convolutions with batch-norm, averaged: about 290,000 parameters."""
    layers: list[nn.Module] = []
    width = channels
    for wider in (32, 64, 128):
        for inputs in (width, wider):
            layers += [nn.Conv2d(inputs, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        width = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class Inverted(nn.Module):
    """MobileNetV2's block: widen fourfold, filter each channel alone, narrow; added to its input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


def _mobile(channels: int, classes: int) -> nn.Module:
    """A small MobileNetV2 for images of about 32 pixels a side."""
    stem = [nn.Conv2d(channels, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6()]
    plan = ((24, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 96, 2))
    head = [nn.Conv2d(96, 192, 1, bias=False), nn.BatchNorm2d(192), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*stem, *(Inverted(*one) for one in plan), *head, nn.Linear(192, classes))


class Encoder(nn.Module):
    """One layer of a transformer, normalised first (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        parts = self.mix(self.norm1(x)).view(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        x = x + self.join((weights @ value).transpose(1, 2).reshape(n, tokens, width))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class VisionTransformer(nn.Module):
    """Patches of 4 pixels, three layers of width 64, mean of the tokens."""

    def __init__(self, channels: int, side: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 4, 4)
        self.place = nn.Parameter(0.02 * torch.randn(1, (side // 4) ** 2, width))
        self.layers = nn.Sequential(*(Encoder(width, 4) for _ in range(3)))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.place
        y: Tensor = self.fc(self.norm(self.layers(tokens)).mean(1))
        return y


def mnist_vgg() -> nn.Module:
    """VGG-like, grey 28x28, 10 classes."""
    return _vgg(1, 10)


def mnist_mobile() -> nn.Module:
    """MobileNetV2-like, grey 28x28, 10 classes."""
    return _mobile(1, 10)


def mnist_vit() -> nn.Module:
    """A small vision transformer, grey 28x28, 10 classes."""
    return VisionTransformer(1, 28, 10)


def cifar_vgg() -> nn.Module:
    """VGG-like, colour 32x32, 10 classes."""
    return _vgg(3, 10)


def cifar_mobile() -> nn.Module:
    """MobileNetV2-like, colour 32x32, 10 classes."""
    return _mobile(3, 10)


def gtsrb_resnet8() -> nn.Module:
    """Three stages of one block, colour 32x32, 43 classes."""
    return _resnet((16, 32, 64), 1, 43)


FEW = range(2, 8)
# Of a few classes, for networks of parts of the data sets (`mnist[3,8]`).
mnist_cnn_2, mnist_cnn_3, mnist_cnn_4, mnist_cnn_5, mnist_cnn_6, mnist_cnn_7 = (partial(mnist_cnn, k) for k in FEW)
gtsrb_cnn_2, gtsrb_cnn_3, gtsrb_cnn_4, gtsrb_cnn_5, gtsrb_cnn_6, gtsrb_cnn_7 = (partial(gtsrb_cnn, k) for k in FEW)
mnist_vgg_2, mnist_vgg_3, mnist_vgg_4, mnist_vgg_5, mnist_vgg_6, mnist_vgg_7 = (partial(_vgg, 1, k) for k in FEW)
cifar_vgg_2, cifar_vgg_3, cifar_vgg_4, cifar_vgg_5, cifar_vgg_6, cifar_vgg_7 = (partial(_vgg, 3, k) for k in FEW)
