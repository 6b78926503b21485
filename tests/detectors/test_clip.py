"""The clip passes a gradient wherever a descent step leads back inside [0, 1]."""

from __future__ import annotations

import pytest
import torch

from bdscan.detectors.inversion.families.clip import clip


def test_values_are_those_of_clamp() -> None:
    x = torch.linspace(-1, 2, 31)
    assert torch.equal(clip(x), x.clamp(0, 1))


@pytest.mark.parametrize(
    "value, gradient, passes",
    [
        (0.5, 1.0, True),
        (0.5, -1.0, True),
        (0.0, 1.0, True),
        (1.0, -1.0, True),
        (-0.2, -1.0, True),  # descent raises x: back inside
        (-0.2, 1.0, False),
        (1.2, 1.0, True),  # descent lowers x: back inside
        (1.2, -1.0, False),
    ],
)
def test_gradient(value: float, gradient: float, passes: bool) -> None:
    x = torch.tensor([value], requires_grad=True)
    (got,) = torch.autograd.grad(clip(x), x, torch.tensor([gradient]))
    assert float(got) == (gradient if passes else 0.0)
