"""OnnxModel: published files, batches, precision, folding, writing back."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from network_exports import export, seeded, tiny_densenet, tiny_swin
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bdscan.onnx import NotAClassifier, OnnxError, check_against_onnxruntime, load_onnx

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
PUBLISHED = ("aeva_cifar_resnet20_dynamic", "moth_resnet20_adv", "vnncomp_resnet_2b")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the published models are not beside this checkout")


@needs_shared
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_file_against_its_rewrite(name: str) -> None:
    """NHWC, Keras padding, pixels to 255, a batch of one; outputs within 1e-4, gradients 1e-3 of the largest."""
    spec = importlib.util.spec_from_file_location("arch", SHARED / name / "arch.py")
    assert spec is not None
    assert spec.loader is not None
    arch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(arch)
    path = SHARED / name / "model.onnx"
    model, network = load_onnx(path), arch.load(str(path))
    shape = model.inputs[0].shape
    assert shape is not None
    top = 255.0 if name == "moth_resnet20_adv" else 1.0
    x = torch.rand((5, *(s or 1 for s in shape[1:])), generator=torch.Generator().manual_seed(0)) * top
    x.requires_grad_()
    got, expected = model(x), network(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    weights = torch.arange(got.shape[1], dtype=torch.float32)
    (gradient,) = torch.autograd.grad((got * weights).sum(), x)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), x)
    assert float((gradient - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())
    assert check_against_onnxruntime(model, path, x.detach().numpy()) < 1e-4


@pytest.mark.parametrize("build", [tiny_densenet, tiny_swin])
@pytest.mark.parametrize("batch", [1, 4])
def test_fixed_batch_runs_any_number(build: object, batch: int, tmp_path: Path) -> None:
    network = seeded(build)  # type: ignore[arg-type]
    x = torch.rand(5, 3, 32, 32)
    model = load_onnx(export(network, x[:1].repeat(batch, 1, 1, 1), tmp_path / "m.onnx"))
    assert model.fixed_batch == batch
    for n in (1, 4, 5):
        torch.testing.assert_close(model(x[:n]), network(x[:n]), rtol=1e-4, atol=1e-4)


def test_dynamic_file_with_a_constant_batch_inside(tmp_path: Path) -> None:
    """The file says any batch, the Reshape inside says one."""
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"])]
    weight = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    tensors = [numpy_helper.from_array(np.array([1, 12]), "s"), numpy_helper.from_array(weight, "w")]
    path = save(nodes, tensors, tmp_path / "m.onnx", output=["n", 4])
    model = load_onnx(path)
    assert model.fixed_batch == 1
    x = torch.rand(3, 3, 2, 2)
    torch.testing.assert_close(model(x), x.flatten(1) @ torch.from_numpy(weight))
    assert check_against_onnxruntime(model, path, x.numpy()) < 1e-6


def save(nodes: list[onnx.NodeProto], tensors: list[TensorProto], path: Path, output: list[int | str]) -> Path:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 2, 2])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "g", [given], [result], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_check_sees_a_difference(tmp_path: Path) -> None:
    path = export(seeded(tiny_densenet), torch.rand(1, 3, 32, 32), tmp_path / "m.onnx")
    model = load_onnx(path)
    x = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    assert check_against_onnxruntime(model, path, x) < 1e-5
    dict(model.named_initialisers())["classifier.bias"].data[3] += 0.5
    assert check_against_onnxruntime(model, path, x) == pytest.approx(0.5, abs=1e-4)
    dict(model.named_initialisers())["classifier.bias"].data[3] = torch.nan
    assert check_against_onnxruntime(model, path, x) == float("inf")


def test_lower_and_higher_precision(tmp_path: Path) -> None:
    network = seeded(tiny_swin)
    model = load_onnx(export(network, torch.rand(2, 3, 32, 32), tmp_path / "m.onnx", dynamic=True))
    x = torch.rand(4, 3, 32, 32)
    expected = network(x)
    exact = model.double()(x.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=1e-4, atol=1e-4)
    coarse = model.to(torch.bfloat16)(x.to(memory_format=torch.channels_last))
    assert coarse.dtype == torch.bfloat16
    assert float((coarse.float() - expected).detach().abs().mean()) < 0.05 * float(expected.detach().std())


@pytest.mark.parametrize("dynamic", [False, True])
def test_values_meet_on_one_device(dynamic: bool, tmp_path: Path) -> None:
    """The meta device stands in for a GPU: it also refuses operands from the CPU."""
    x = torch.rand(2, 3, 32, 32)
    model = load_onnx(export(seeded(tiny_swin), x, tmp_path / "m.onnx", dynamic=dynamic)).to("meta")
    y = model(x.to("meta"))
    assert y.is_meta
    assert y.shape == (2, 10)


class ConvBn(nn.Module):
    """One block that can be merged (conv, norm) and one that cannot (the convolution is read twice)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.norm(self.first(x)).relu())
        return (y + self.other(y)).mean((2, 3))


def batchnorm_file(path: Path) -> Path:
    """Keras converters and training exports keep the batch normalisation that the exporters fold."""
    network = seeded(ConvBn)
    options = {"dynamo": False, "training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.rand(1, 3, 8, 8),), path, opset_version=17, **options)
    return path


def test_folded_batchnorm(tmp_path: Path) -> None:
    model = load_onnx(batchnorm_file(tmp_path / "m.onnx"))
    kinds = [n.op for n in model.graph.nodes]
    assert kinds.count("BatchNormalization") == 2
    folded = model.folded()
    assert [n.op for n in folded.graph.nodes].count("BatchNormalization") == 1
    x = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(OnnxError, match="cannot be written"):
        folded.write(tmp_path / "out.onnx", tmp_path / "m.onnx")


def test_every_weight_beside_a_batch_normalisation_can_be_trained(tmp_path: Path) -> None:
    model = load_onnx(batchnorm_file(tmp_path / "m.onnx"))
    weights = dict(model.named_initialisers())
    assert not {name for name in weights if "running" in name}
    assert {"norm.weight", "norm.bias", "first.weight"} <= weights.keys()
    for parameter in weights.values():
        parameter.requires_grad_(True)
    model(torch.rand(2, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in weights.values())


@pytest.mark.parametrize("exporter", ["legacy-17", "default"])
def test_written_back(exporter: str, tmp_path: Path) -> None:
    source = tmp_path / "in" / "m.onnx"
    source.parent.mkdir()
    export(seeded(tiny_densenet), torch.rand(2, 3, 32, 32), source, exporter, True)
    model = load_onnx(source)
    assert bool(model.sidecars) == (source.with_name("m.onnx.data")).exists()
    with torch.no_grad():
        for _, parameter in model.named_initialisers():
            parameter.mul_(1.1)
    out = tmp_path / "out" / "repaired.onnx"
    out.parent.mkdir()
    model.write(out, source)
    assert out.with_name("repaired.onnx.data").exists() == bool(model.sidecars)
    shutil.rmtree(source.parent)  # nothing may point back
    x = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    again = load_onnx(out)
    assert torch.equal(again(torch.from_numpy(x)), model(torch.from_numpy(x)))
    assert check_against_onnxruntime(model, out, x) < 1e-4


def test_initialisers_take_gradients(tmp_path: Path) -> None:
    network = seeded(tiny_densenet)
    model = load_onnx(export(network, torch.rand(2, 3, 32, 32), tmp_path / "m.onnx", dynamic=True))
    weights = dict(model.named_initialisers())
    assert not any(p.requires_grad for p in weights.values())
    x = torch.rand(2, 3, 32, 32)
    (wanted,) = torch.autograd.grad(network(x).square().sum(), network.classifier.weight)
    head = weights["classifier.weight"].requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).square().sum(), head)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)


def test_not_a_classifier(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(NotAClassifier, match="no float output of shape"):
        load_onnx(save(nodes, [], tmp_path / "m.onnx", output=["n", 3, 2, 2]))
