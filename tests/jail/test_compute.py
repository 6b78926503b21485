from __future__ import annotations

import torch

from bdscan.jail.compute import deterministic, uses_cuda
from bdscan.settings import Settings


def test_torch_is_deterministic_inside_and_as_before_outside():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with deterministic(Settings(model="m", samples="s", threads=3)):
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (3, True)
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_a_scan_on_the_cpu_never_asks_for_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not uses_cuda(Settings(model="m", samples="s", device="cpu"))
    assert uses_cuda(Settings(model="m", samples="s", device="auto"))
