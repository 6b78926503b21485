"""What several folders of tests need: the repository, test material beside it, few threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    return ROOT / "fixtures"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Published models and data sets, kept outside the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("the folder ../shared with published models and data is not here")
    return folder


def ten_per_class(source: Path, target: Path, seed: int = 0, count: int = 10) -> Path:
    """Write `count` test images of each class of a data set to `target`, drawn by the seed."""
    with np.load(source, allow_pickle=False) as data:
        name = "x_test" if "x_test" in data else "x"
        x, y = data[name], data["y_test" if "y_test" in data else "y"]
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:count] for label in np.unique(y)])
    np.savez(target, x=x[chosen], y=y[chosen])
    return target
