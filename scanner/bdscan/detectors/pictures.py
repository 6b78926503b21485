"""Pictures of images and triggers as base64 PNG, for evidence."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

from bdscan.detectors.inversion.trigger import Candidate
from bdscan.report import Label, Picture, TriggerParameters

SHOWN = 224  # pixels a side at most in a report


def png(image: Tensor) -> str:
    """Image (C, H, W) in [0, 1], one or three channels -> base64 PNG, made smaller than SHOWN if larger."""
    array = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    if array.shape[2] not in (1, 3):
        array = array.mean(2, keepdims=True).astype(np.uint8)
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    if max(picture.size) > SHOWN:
        picture.thumbnail((SHOWN, SHOWN))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def trigger_pictures(candidate: Candidate, images: Tensor) -> tuple[Picture, Picture]:
    """The trigger on mid-grey, and the mask: where and how much it changes images (N, C, H, W), scaled to its peak."""
    stamped = candidate.stamp(images, 1.0)
    change = stamped - images
    mean = change.mean(0)
    scale = float(mean.abs().max().clamp(min=1e-6))
    mask = change.abs().amax(1).mean(0)
    top = float(mask.max().clamp(min=1e-6))
    return (
        Picture(
            title="Recovered trigger",
            alt=f"Mean change of the {candidate.family} trigger for class {candidate.target}, on mid-grey",
            png=png(0.5 + 0.5 * mean / scale),
            caption=f"mean change on mid-grey, scaled by {0.5 / scale:.1f}",
        ),
        Picture(
            title="Where it changes images",
            alt=f"Where the {candidate.family} trigger for class {candidate.target} changes images",
            png=png((mask / top)[None]),
            caption=f"largest mean change of a pixel: {top:.2f} of the full range",
        ),
    )


def trigger_parameters(
    candidate: Candidate, target: Label, sources: tuple[Label, ...], shape: tuple[int, int, int]
) -> TriggerParameters:
    return TriggerParameters(
        family=candidate.family,
        target=target,
        sources=sources,
        size=candidate.size,
        shapes={k: tuple(v.shape) for k, v in candidate.parameters.items()},
        arrays={
            k: base64.b64encode(v.detach().cpu().float().numpy().astype("<f4").tobytes()).decode()
            for k, v in candidate.parameters.items()
        },
        image_shape=shape,
    )
