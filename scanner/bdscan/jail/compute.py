"""How torch computes during a scan: a fixed number of threads, and deterministic kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bdscan.settings import Settings


@contextmanager
def deterministic(settings: Settings) -> Iterator[None]:
    """Torch set up for one scan; the state before it comes back afterwards.

    Kernels that have no deterministic variant (a few on CUDA) only warn: refusing would end scans for a difference in
    the last bit. The debug mode sets just that; `use_deterministic_algorithms` also imports torch's compiler, seconds
    that no scan needs. Filling fresh memory with NaN, part of torch's deterministic mode, costs time too.
    """
    import torch
    from torch.utils import deterministic as memory

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads, fill = torch.get_num_threads(), memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    mode = torch.get_deterministic_debug_mode()
    torch.set_num_threads(settings.threads)
    torch.set_deterministic_debug_mode("warn")
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_deterministic_debug_mode(mode)
        torch.set_num_threads(threads)


def uses_cuda(settings: Settings) -> bool:
    """Whether this scan will touch a GPU."""
    if settings.device == "cpu":
        return False
    import torch

    return settings.device == "cuda" or torch.cuda.is_available()
