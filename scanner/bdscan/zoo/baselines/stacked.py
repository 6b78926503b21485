"""Several small fully connected networks of one shape, run at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Stacked(nn.Module):
    """S networks with one hidden layer, sizes (inputs, hidden, outputs)."""

    def __init__(self, count: int, sizes: tuple[int, int, int], draw: torch.Generator, device: torch.device) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Parameter((torch.randn(count, a, b, generator=draw) * a**-0.5).to(device))
            for a, b in ((sizes[0], sizes[1]), (sizes[1], sizes[2]))
        )
        self.shift, self.last = (nn.Parameter(torch.zeros(count, 1, size, device=device)) for size in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        """(S,n,inputs) -> (S,n,outputs)."""
        hidden = functional.relu(torch.baddbmm(self.shift, x, self.first))
        return torch.baddbmm(self.last, hidden, self.second)
