"""A faster twin of a classifier for the stages that search; those that decide use the original.

Batch normalisation is merged into the convolution before it, and weights lie with the channels last. On CPUs with
bfloat16 instructions all but small networks also run in bfloat16. Which ones is decided by counted work, never by
timing, so that two runs take the same path.

Measured on one core with AVX-512 BF16, milliseconds a gradient (original, folded, bfloat16): GTSRB CNN 1.8, 1.6, 0.85;
CIFAR ResNet-14 2.6, 1.8, 0.96; ResNet-18 at 32x32 25, 22, 11, at 224x224 100, 89, 48.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from bdscan.intake.calls import Watch
from bdscan.intake.classifier import Classifier
from bdscan.intake.presented import Presented
from bdscan.onnx import OnnxModel

LAYOUT = torch.channels_last
LARGE = 2e6  # multiply-accumulates an image; below, a scan is short already and keeps its precision
FOLD_TOLERANCE = 1e-3  # of the largest logit
HALF_TOLERANCE = 0.1  # mean error, of the spread of the logits


def fast(classifier: Classifier) -> Classifier:
    """The same function within rounding, or `classifier` itself where nothing helps. Logits stay float32."""
    own = classifier.forward
    if not isinstance(own, Presented) or isinstance(own.network, torch.jit.ScriptModule):
        return classifier
    images = torch.rand((4, *classifier.shape), generator=torch.Generator().manual_seed(0)).to(classifier.device)
    watch = Watch()
    with torch.no_grad(), watch:
        wanted = own(images)
    best = own
    folded = own.with_network((_folded(own.network) or copy.deepcopy(own.network)).to(memory_format=LAYOUT))
    if float(_error(folded, images, wanted).max()) <= FOLD_TOLERANCE * float(wanted.abs().max()):
        best = folded
    if watch.macs / len(images) >= LARGE and has_bfloat16(classifier.device):
        half = copy.deepcopy(best.network).to(torch.bfloat16).to(memory_format=LAYOUT)
        twin = best.with_network(half, torch.bfloat16)
        if float(_error(twin, images, wanted).mean()) <= HALF_TOLERANCE * float(wanted.std()):
            best = twin
    return classifier if best is own else replace(classifier, forward=best, module=best.network)


def has_bfloat16(device: torch.device) -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    if device.type != "cpu":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _folded(network: nn.Module) -> nn.Module | None:
    if isinstance(network, OnnxModel):
        return network.folded()
    try:
        return fuse(copy.deepcopy(network)).requires_grad_(False)
    except Exception:  # a network that cannot be traced says so in many ways; it stays as it is
        return None


def _error(twin: Presented, images: Tensor, wanted: Tensor) -> Tensor:
    """Absolute errors of the logits, infinite where the twin cannot run."""
    try:
        with torch.no_grad():
            return torch.nan_to_num((twin(images) - wanted).abs(), nan=torch.inf)
    except (RuntimeError, ValueError):
        return torch.full_like(wanted, torch.inf)
