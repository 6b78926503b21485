"""From the trigger in a report back to a function that stamps it: what a finding's evidence is kept for."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bdscan.detectors.inversion.families import FAMILIES
from bdscan.errors import UsageError
from bdscan.report import TriggerParameters

MASK = "mask"  # of a trigger that was searched inside a mask (1, H, W), beside the family's own arrays
Stamp = Callable[[Tensor, float], Tensor]


def stamp_from_parameters(trigger: TriggerParameters) -> Stamp:
    """The function that stamps images (N, C, H, W) in [0, 1] with an intensity, as the recovered candidate's did.

    Raises UsageError for an unknown family and for arrays that are not the family's for this image shape.
    """
    family = FAMILIES.get(trigger.family)
    if family is None:
        raise UsageError(f"unknown trigger family {trigger.family[:40]!r}; known: {', '.join(FAMILIES)}")
    expected = {k: tuple(v.shape[1:]) for k, v in family.start(1, trigger.image_shape, torch.Generator()).items()}
    if MASK in trigger.shapes:
        expected[MASK] = (1, *trigger.image_shape[1:])
    if dict(trigger.shapes) != expected or trigger.arrays.keys() != expected.keys():
        raise UsageError(f"the arrays are not those of a {family.name} trigger for images of {trigger.image_shape}")
    arrays = {name: _array(trigger.arrays[name], shape) for name, shape in expected.items()}
    mask = arrays.pop(MASK, None)

    def stamp(images: Tensor, intensity: float) -> Tensor:
        with torch.no_grad():
            batch = {name: value[None].to(images.device) for name, value in arrays.items()}
            stamped = family.stamp(batch, images[None], intensity)[0]
            return stamped if mask is None else images + mask.to(images.device) * (stamped - images)

    return stamp


def _array(text: str, shape: tuple[int, ...]) -> Tensor:
    """Little-endian float32 values in base64."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise UsageError("a trigger's array is not base64") from None
    if len(raw) != 4 * math.prod(shape):
        raise UsageError(f"a trigger's array has {len(raw)} bytes, not those of float32 {shape}")
    values = np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)
    if not np.isfinite(values).all():
        raise UsageError("a trigger's array holds values that are not finite")
    return torch.from_numpy(values)
