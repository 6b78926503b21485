"""What several folders of tests need: the repository, test material beside it, few threads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bdscan.intake.classifier import Scannable

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


@pytest.fixture(scope="session")
def badnets(fixtures_dir: Path) -> Scannable:
    """The fixture with a BadNets pattern to class 8, loaded; nobody may train it in place."""
    from bdscan.intake.load import load
    from bdscan.settings import Settings

    arch = f"{fixtures_dir / 'arch.py'}:digits_bn"
    samples = str(fixtures_dir / "samples.npz")
    return load(Settings(model=str(fixtures_dir / "badnets.pth.tar"), samples=samples, arch=arch)).scannable
