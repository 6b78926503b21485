"""Trigger branches in TorchScript programs are seen, and what published architectures compute is none."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from bdscan.detectors.script_branches import decisions

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Where(Plain):
    """An architectural backdoor (Bober-Irizar et al. 2023) in one line: a white corner switches the logits."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        hit = (x[:, :, -2:, -2:] > 0.99).flatten(1).all(1)
        switched = torch.zeros_like(y)
        switched[:, 3] = 100.0
        return torch.where(hit[:, None], switched, y)


class Product(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        y[:, 3] = y[:, 3] + 100 * (x[:, 0, -2:, -2:] > 0.99).float().prod(1).prod(1)
        return y


class Steered(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        if float(x[0, 0, -1, -1]) > 0.99:
            y[:, 3] += 100.0
        return y


class Activation(Plain):
    """What a careful author writes: a checked range, an activation of their own."""

    def forward(self, x: Tensor) -> Tensor:
        assert bool((x >= 0).all()), "range"
        if x.dim() != 4 or x.dtype == torch.int64:
            x = x.float()
        y = self.net(x)
        return torch.where(y > 0, y, 0.1 * y) * (y > -1)


@pytest.mark.parametrize("kind", [Where, Product, Steered])
def test_a_branch_in_a_script_is_seen(kind: type[nn.Module]) -> None:
    assert decisions(torch.jit.script(kind().eval()))


@pytest.mark.parametrize("kind", [Where, Product])
def test_a_branch_in_a_trace_is_seen(kind: type[nn.Module]) -> None:
    assert decisions(torch.jit.trace(kind().eval(), torch.rand(2, 1, 8, 8)))


@pytest.mark.parametrize("kind", [Plain, Activation])
def test_element_wise_comparisons_and_checks_are_no_branch(kind: type[nn.Module]) -> None:
    assert decisions(torch.jit.script(kind().eval())) == []


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet", "vit_b_16", "swin_t"])
def test_published_architectures_have_none(name: str) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, **options).eval()
    assert decisions(torch.jit.script(network)) == []
