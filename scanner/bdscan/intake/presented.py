"""A network behind one fixed presentation of pixels: images in [0, 1] in, logits out."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from bdscan.intake.calls import Bypass, Capture, Place
from bdscan.intake.output_kind import TINY, class_scores
from bdscan.report import Preprocessing

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts colour to grey


@dataclass(frozen=True)
class Mould:
    """What the network takes.

    Attributes:
        shape: (C, H, W) of the images.
        tail: shape of one network input where it is no image, e.g. (C*H*W,) or (H, W).
    """

    shape: tuple[int, int, int]
    tail: tuple[int, ...] | None = None


class Presented:
    """Preprocessing, the network, the choice of output and the removal of a final softmax, in this order.

    Arguments:
        softmax: which softmax call is the final one and is left out; None to leave all.
        batch: the network's fixed batch size, if any; it takes others too, `features` needs to know.
        logarithm: take the logarithm of the outputs, for probabilities whose softmax could not be removed.
        dtype: type that the network itself runs in; logits are float32 always.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        mould: Mould,
        softmax: Place | None = None,
        logarithm: bool = False,
        dtype: torch.dtype = torch.float32,
        batch: int | None = None,
    ) -> None:
        self.network = network
        self.preprocessing = preprocessing
        self.mould = mould
        self.softmax = softmax
        self.batch = batch
        self.logarithm = logarithm
        self.dtype = dtype
        self.factor, self.offset = _affine(preprocessing, mould.shape[0])

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> logits (N, K), float32."""
        x = self.present(images)
        with nullcontext() if self.softmax is None else Bypass(self.softmax):
            output = self.network(x)
        scores = class_scores(output, len(x)).float()
        return scores.clamp_min(TINY).log() if self.logarithm else scores

    def with_network(self, network: nn.Module, dtype: torch.dtype = torch.float32) -> Presented:
        """The same presentation of another network, which takes inputs of `dtype`."""
        return Presented(network, self.preprocessing, self.mould, self.softmax, self.logarithm, dtype, self.batch)

    def present(self, images: Tensor) -> Tensor:
        """The network's own input for images (N, C, H, W) in [0, 1]."""
        x = fitted(images, self.mould.shape)
        if self.preprocessing.channel_order == "BGR":
            x = x.flip(1)
        if self.factor is not None:
            x = x * self.factor.to(x.device) + self.offset.to(x.device)
        if self.preprocessing.layout == "NHWC":
            x = x.permute(0, 2, 3, 1)
        if self.mould.tail is not None:
            x = x.reshape(len(x), *self.mould.tail)
        if self.dtype != torch.float32 and x.ndim == 4:
            return x.to(self.dtype, memory_format=torch.channels_last)
        return x.to(self.dtype)

    def features(self, images: Tensor, place: Place) -> Tensor:
        """Input (N, D) of the linear call of this place, float32."""
        parts = []
        x = self.present(images)
        for part in torch.split(x, self.batch or max(len(x), 1)):
            with Capture(place) as capture:
                self.network(part if self.batch is None else _padded(part, self.batch))
            assert capture.input is not None
            parts.append(capture.input.float()[: len(part)])
        return torch.cat(parts)


def fitted(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Images of another size or channel count brought to `shape` (differentiable; for a reference of another shape)."""
    if images.shape[1] != shape[0]:
        if shape[0] == 1:
            weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True)
        else:
            images = images.expand(-1, shape[0], -1, -1)
    if images.shape[2:] != shape[1:]:
        images = functional.interpolate(images, size=shape[1:], mode="bilinear", antialias=True, align_corners=False)
    return images


def _affine(preprocessing: Preprocessing, channels: int) -> tuple[Tensor | None, Tensor]:
    """(x * scale - mean) / std as x * factor + offset, each (1, C, 1, 1) and in double precision before rounding."""

    def column(values: tuple[float, ...], default: float) -> Tensor:
        tensor = torch.tensor(values or (default,), dtype=torch.float64)
        return tensor.expand(channels).view(1, -1, 1, 1)

    mean, std = column(preprocessing.mean, 0.0), column(preprocessing.std, 1.0)
    factor, offset = preprocessing.scale / std, -mean / std
    if bool((factor == 1).all()) and bool((offset == 0).all()):
        return None, offset.float()
    return factor.float(), offset.float()


def _padded(part: Tensor, size: int) -> Tensor:
    """The batch filled up to `size` rows by repeating its last one."""
    missing = size - len(part)
    return torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
