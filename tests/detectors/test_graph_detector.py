"""The graph check on the network with a trigger branch and on the same weights without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import subject

from bdscan.detectors import graph
from bdscan.detectors.interface import Budget, CouldNotRun, Hints, Measurement
from bdscan.intake.load import load
from bdscan.settings import Settings


def check(path: Path) -> Measurement | CouldNotRun:
    samples = Path(__file__).parents[2] / "fixtures" / "samples.npz"
    loaded = load(Settings(model=str(path), samples=str(samples))).scannable
    return graph.run(loaded, Budget("quick"), Hints(), lambda share: None)


def test_the_planted_branch_is_found(fixtures_dir: Path) -> None:
    result = check(fixtures_dir / "trigger-branch.onnx")
    assert isinstance(result, Measurement)
    (statistic,) = result.statistics
    assert statistic.name == "graph.branches"
    assert statistic.value >= 1
    assert "feed the logits" in result.summary


@pytest.mark.parametrize("name", ["clean-1.onnx", "sig.onnx"])
def test_trained_classifiers_have_none_even_with_a_backdoor_in_the_weights(fixtures_dir: Path, name: str) -> None:
    result = check(fixtures_dir / name)
    assert isinstance(result, Measurement)
    assert [s.value for s in result.statistics] == [0.0]


def test_its_clean_twin_has_none(fixtures_dir: Path, tmp_path: Path) -> None:
    """The very network that the branch was added to, exported in the same way without it."""
    import torch
    from torch import nn

    from bdscan.zoo.networks import digits_cnn

    network: nn.Module = digits_cnn()
    network.load_state_dict(torch.load(fixtures_dir / "clean-0.pt", weights_only=True))
    twin = tmp_path / "twin.onnx"
    export_legacy(network.eval(), twin)
    result = check(twin)
    assert isinstance(result, Measurement)
    assert [s.value for s in result.statistics] == [0.0]


def export_legacy(network, path: Path) -> None:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(network, (torch.rand(1, 1, 16, 16),), path, dynamo=False)


def test_weights_without_a_graph_cannot_be_checked() -> None:
    result = graph.run(subject(), Budget("quick"), Hints(), lambda share: None)
    assert isinstance(result, CouldNotRun)
    assert "graph" in result.reason
