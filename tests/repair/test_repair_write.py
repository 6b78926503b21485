"""The repaired weights come back in the original's format, and every loader reads what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from bdscan.errors import CannotJudge
from bdscan.intake.load import load
from bdscan.repair.student import frozen, student_of
from bdscan.repair.write import prefix_of, write_like
from bdscan.settings import Settings

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = [
    ("badnets.pth.tar", "digits_bn"),
    ("blended.safetensors", "digits_cnn"),
    ("source-specific.pt", "digits_bn"),
    ("sig.onnx", None),
    ("clean-1.onnx", None),
    ("two-triggers.ts", None),
]


def settings(model: Path, network: str | None) -> Settings:
    arch = f"{FIXTURES / 'arch.py'}:{network}" if network else None
    return Settings(model=str(model), samples=str(FIXTURES / "samples.npz"), arch=arch)


@pytest.mark.parametrize(("name", "network"), FILES)
def test_changed_weights_are_read_back_as_they_were_written(name: str, network: str | None, tmp_path: Path) -> None:
    original = load(settings(FIXTURES / name, network)).scannable
    student = student_of(original.classifier)
    with torch.no_grad():
        for weight in student.weights:
            weight.mul_(1 + 0.02 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)))
    path = tmp_path / name
    write_like(student.network, FIXTURES / name, path)
    again = load(settings(path, network)).scannable
    images, _ = again.samples.part(again.samples.search)
    written, expected = again.classifier.predict(images), frozen(student).predict(images)
    assert torch.allclose(written, expected, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(written, original.classifier.predict(images), atol=1e-2)


def test_a_checkpoint_keeps_its_keys_and_what_lies_beside_the_weights(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    old = {"epoch": 7, "state_dict": {f"module.{k}": torch.zeros_like(v) for k, v in network.state_dict().items()}}
    torch.save(old, tmp_path / "old.pt")
    write_like(network, tmp_path / "old.pt", tmp_path / "new.pt")
    new = torch.load(tmp_path / "new.pt", weights_only=True)
    assert new["epoch"] == 7
    assert list(new["state_dict"]) == ["module.weight", "module.bias"]
    assert torch.equal(new["state_dict"]["module.weight"], network.weight)


def test_safetensors_keep_their_metadata_and_types(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    half = {k: v.half() for k, v in network.state_dict().items()}
    safetensors.torch.save_file(half, tmp_path / "old.safetensors", {"format": "pt"})
    write_like(network, tmp_path / "old.safetensors", tmp_path / "new.safetensors")
    with safetensors.safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert file.get_tensor("weight").dtype == torch.float16


def test_tensors_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"other": torch.zeros(2)}}, tmp_path / "old.pt")
    with pytest.raises(CannotJudge, match="not the network's"):
        write_like(torch.nn.Linear(3, 2), tmp_path / "old.pt", tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists()


def test_the_prefix_is_what_all_keys_share() -> None:
    value = torch.zeros(1)
    assert prefix_of({"module.a": value, "module.b.c": value}, {"a": value, "b.c": value}) == "module."
    assert prefix_of({"a": value}, {"a": value, "extra": value}) == ""
    assert prefix_of({"x.a": value, "y.b": value}, {"a": value, "b": value}) is None
