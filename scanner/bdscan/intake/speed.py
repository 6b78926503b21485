"""A faster twin of a classifier for the stages that search; those that decide use the original.

Batch normalisation is merged into the convolution before it. On CPUs with bfloat16 instructions, networks that are
large enough for it to pay also run in bfloat16 with the channels last. Whether it pays is decided by counted work,
never by timing, so that two runs take the same path.
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

LARGE = 100e6  # multiply-accumulates an image from which bfloat16 pays on a CPU
FOLD_TOLERANCE = 1e-3  # of the largest logit
HALF_TOLERANCE = 0.1  # mean error, of the spread of the logits


def fast(classifier: Classifier) -> Classifier:
    """The same function within rounding, or `classifier` itself where nothing helps. Logits stay float32."""
    own = classifier.forward
    if not isinstance(own, Presented) or not isinstance(own.network, nn.Module):
        return classifier
    images = torch.rand((4, *classifier.shape), generator=torch.Generator().manual_seed(0)).to(classifier.device)
    watch = Watch()
    with torch.no_grad(), watch:
        wanted = own(images)
    best = own
    folded = _folded(own.network)
    if folded is not None:
        twin = own.with_network(folded)
        if _error(twin, images, wanted).max() <= FOLD_TOLERANCE * float(wanted.abs().max()):
            best = twin
    if watch.macs / len(images) >= LARGE and has_bfloat16(classifier.device):
        half = copy.deepcopy(best.network).to(torch.bfloat16).to(memory_format=torch.channels_last)
        twin = best.with_network(half, torch.bfloat16)
        if float(_error(twin, images, wanted).mean()) <= HALF_TOLERANCE * float(wanted.std()):
            best = twin
    if best is own:
        return classifier
    return replace(classifier, forward=best, module=best.network)


def has_bfloat16(device: torch.device) -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    if device.type != "cpu":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _folded(network: nn.Module) -> nn.Module | None:
    if isinstance(network, OnnxModel):
        return network.folded()
    if isinstance(network, torch.jit.ScriptModule):
        return None
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
