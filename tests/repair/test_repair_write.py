"""The repaired weights come back in the original's format, and every loader reads what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors
import safetensors.torch
import torch
from onnx import numpy_helper

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.load import load
from bdscan.repair.student import frozen, student_of
from bdscan.repair.write import check_copies, check_name, prefix_of, set_aside, write_like
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


def test_the_weights_that_the_loader_reads_are_the_ones_that_are_written(tmp_path: Path) -> None:
    """Not those that come first in the file; and a copy that would keep the backdoor is refused."""
    network = torch.nn.Linear(3, 2)
    zeros = {key: torch.zeros_like(value) for key, value in network.state_dict().items()}
    other = {"weight": torch.zeros(5, 3), "bias": torch.zeros(5)}
    torch.save({"ema": other, "state_dict": zeros}, tmp_path / "old.pt")
    check_copies(tmp_path / "old.pt", network)
    write_like(network, tmp_path / "old.pt", tmp_path / "new.pt")
    new = torch.load(tmp_path / "new.pt", weights_only=True)
    assert torch.equal(new["state_dict"]["weight"], network.weight)
    assert torch.equal(new["ema"]["weight"], other["weight"])
    for copies in (
        {"ema": zeros, "state_dict": zeros | {"x": 1}},
        {"state_dict": zeros, "average": {"of": dict(zeros)}},
        {"state_dict": zeros, "ema": {"n_averaged": torch.zeros(()), **{f"module.{k}": v for k, v in zeros.items()}}},
        {"state_dict": zeros, "ema": {"shadow_params": [torch.zeros(2, 3), torch.zeros(2)]}},
    ):
        torch.save(copies, tmp_path / "two.pt")
        with pytest.raises(CannotJudge, match="several sets of the network's weights"):
            check_copies(tmp_path / "two.pt", network)


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


def half(path: Path) -> Path:
    """A fixture's graph with its initialisers and its input in float16."""
    proto = onnx.load(FIXTURES / "sig.onnx")
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(proto, path)
    return path


def test_half_precision_trains_in_float32_and_is_written_as_it_was(tmp_path: Path) -> None:
    original = load(settings(half(tmp_path / "half.onnx"), None)).scannable
    student = student_of(original.classifier)
    assert {weight.dtype for weight in student.weights} == {torch.float32}
    images, labels = original.samples.part(original.samples.search)
    optimiser = torch.optim.Adam(student.weights, 1e-4)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(student.classifier(images), labels).backward()
        optimiser.step()
    assert all(bool(torch.isfinite(weight).all()) for weight in student.weights)
    write_like(student.network, tmp_path / "half.onnx", tmp_path / "new.onnx")
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "new.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    written = load(settings(tmp_path / "new.onnx", None)).scannable.classifier.predict(images)
    expected = frozen(student).predict(images)
    assert torch.allclose(written, expected, atol=2e-2 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["clean-1.onnx", "blended.safetensors"])
def test_a_rejected_file_gets_a_name_of_its_own_with_all_that_it_reads(name: str, tmp_path: Path) -> None:
    network = "digits_cnn" if name.endswith("safetensors") else None
    path = tmp_path / name
    student = student_of(load(settings(FIXTURES / name, network)).scannable.classifier)
    write_like(student.network, FIXTURES / name, path)
    before = load(settings(path, network)).scannable
    images, _ = before.samples.part(before.samples.search)
    place = set_aside(path)
    assert place.name == f"{name}.rejected"
    ends = ["", ".data"] if network is None else [""]
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{place.name}{end}" for end in ends]
    again = load(settings(place, network)).scannable.classifier
    assert torch.equal(again.predict(images), before.classifier.predict(images))


def test_a_name_or_a_format_that_could_not_be_read_again_is_said_before_the_work() -> None:
    check_name("new.pt", "PyTorch state_dict", None)
    check_name("new.bin", "ONNX", None)
    check_name("new.pt", "PyTorch module", "arch.py:net")
    with pytest.raises(UsageError, match=r"end its name with \.onnx"):
        check_name("new.pt", "ONNX", None)
    with pytest.raises(UsageError, match=r"is TorchScript as well; end its name with \.pt"):
        check_name("new.safetensors", "TorchScript", None)
    with pytest.raises(UsageError, match="--arch"):
        check_name("new.pt", "PyTorch module", None)
