"""A report of a fixture that names the fixture's own patch as a sparse trigger: no scan is needed to profile it."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample

from bdscan.intake.load import Intake, load
from bdscan.report import Label, Report, TriggerParameters
from bdscan.settings import Settings

FIXTURES = Path(__file__).parents[2] / "fixtures"
SAMPLES = str(FIXTURES / "samples.npz")
ON = 8.0  # tanh is 1 in float32 from here on


def settings(name: str, arch: str | None = None) -> Settings:
    named = f"{FIXTURES / 'arch.py'}:{arch}" if arch else None
    return Settings(model=str(FIXTURES / name), samples=SAMPLES, arch=named, threads=1)


def trigger(change: Tensor, target: int, sources: Sequence[int] = ()) -> TriggerParameters:
    """A sparse trigger with this additive change (C, H, W) in [-1, 1]."""
    arrays = {
        name: torch.atanh((2 * part - 1).clamp(-0.9999997, 0.9999997)).clamp(-ON, ON)
        for name, part in (("positive", change.clamp(0, 1)), ("negative", (-change).clamp(0, 1)))
    }
    return TriggerParameters(
        family="sparse",
        target=Label(index=target, name=str(target)),
        sources=tuple(Label(index=s, name=str(s)) for s in sources),
        size=9.0,
        shapes={name: tuple(value.shape) for name, value in arrays.items()},
        arrays={name: base64.b64encode(v.numpy().astype("<f4").tobytes()).decode() for name, v in arrays.items()},
        image_shape=tuple(change.shape),
    )


def patch(side: int = 16) -> Tensor:
    """What the fixtures' 3x3 patch in the top right corner does at most: a checkerboard of full changes."""
    from bdscan.zoo.attacks.badnets import BadNets

    rng = np.random.default_rng(0)
    black, white = torch.zeros(1, 1, side, side), torch.ones(1, 1, side, side)
    stamped = [BadNets(target=8).apply(images, 1.0, rng) for images in (black, white)]
    return (stamped[0] + stamped[1] - 1)[0] * (stamped[0] == stamped[1])[0]


def report(intake: Intake, *triggers: TriggerParameters) -> Report:
    made = sample.backdoor()
    finding = made.findings[0].model_copy(update={"evidence": triggers, "weakness": False})
    return made.model_copy(update={"subject": intake.subject, "findings": (finding,) if triggers else ()})


def badnets() -> tuple[Settings, Report]:
    chosen = settings("badnets.pth.tar", "digits_bn")
    return chosen, report(load(chosen), trigger(patch(), 8))
