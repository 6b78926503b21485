"""A network behind one fixed presentation of pixels: images in [0, 1] in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from bdscan.intake.calls import Bypass, Capture
from bdscan.intake.output_kind import TINY, class_scores
from bdscan.report import Preprocessing

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts colour to grey


@dataclass(frozen=True)
class Mould:
    """What the network takes.

    Attributes:
        shape: (C, H, W) of the images.
        tail: shape of one network input where it is no image, e.g. (C*H*W,) or (H, W).
        batch: batch size where the network has a fixed one.
    """

    shape: tuple[int, int, int]
    tail: tuple[int, ...] | None = None
    batch: int | None = None


class Presented:
    """Preprocessing, the network, the choice of output and the removal of a final softmax, in this order.

    Arguments:
        softmax_rank: which softmax call is the final one (see `calls`), None to leave all.
        logarithm: take the logarithm of the outputs, for probabilities whose softmax could not be removed.
        dtype: type that the network itself runs in; logits are float32 always.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        preprocessing: Preprocessing,
        mould: Mould,
        softmax_rank: int | None = None,
        logarithm: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.network = network
        self.preprocessing = preprocessing
        self.mould = mould
        self.softmax_rank = softmax_rank
        self.logarithm = logarithm
        self.dtype = dtype
        self.factor, self.offset = _affine(preprocessing, mould.shape[0])

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> logits (N, K), float32."""
        x = self.present(images)
        size = self.mould.batch
        if size is None:
            return self._scores(x)
        parts = [_padded(part, size) for part in x.split(size)]
        return torch.cat([self._scores(part) for part in parts])[: len(x)]

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
        return x.to(self.dtype)

    def features(self, images: Tensor, rank: int) -> Tensor:
        """Input (N, D) of the linear call of this rank, float32."""
        parts = []
        x = self.present(images)
        for part in x.split(self.mould.batch or max(len(x), 1)):
            with Capture(rank) as capture:
                self.network(part if self.mould.batch is None else _padded(part, self.mould.batch))
            assert capture.input is not None
            parts.append(capture.input.float()[: len(part)])
        return torch.cat(parts)

    def _scores(self, x: Tensor) -> Tensor:
        with nullcontext() if self.softmax_rank is None else Bypass(self.softmax_rank):
            output = self.network(x)
        scores = class_scores(output, len(x)).float()
        return scores.clamp_min(TINY).log() if self.logarithm else scores


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
