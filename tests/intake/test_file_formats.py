"""One network in every container that the loader takes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from toys import linear, load_toy, quarters, templates, toy, write_arch, write_npz

from bdscan.intake import load
from bdscan.intake.architecture import build, fit
from bdscan.settings import Settings

TRUTH = json.loads((Path(__file__).resolve().parents[2] / "fixtures" / "truth.json").read_text())


@pytest.mark.parametrize("entry", TRUTH, ids=lambda entry: entry["name"])
def test_fixtures(fixtures_dir: Path, entry: dict) -> None:
    path = fixtures_dir / entry["file"]
    weights_only = path.suffix == ".safetensors" or entry["format"] in ("state_dict", "checkpoint")
    arch = f"{fixtures_dir.parent}/{entry['arch']}" if weights_only else None
    samples = str(fixtures_dir / "samples.npz")
    intake = load(Settings(model=str(path), samples=samples, arch=arch, device="cpu"))
    subject = intake.subject
    assert subject.clean_accuracy == pytest.approx(entry["accuracy"], abs=0.05)
    assert bool(subject.preprocessing.mean) == (entry["mean"] != 0)
    assert subject.preprocessing.scale == pytest.approx(1.0 if entry["std"] in (0.5, 1.0) else 255.0)
    assert subject.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(subject.files) == 1 + bool(arch) + (entry["format"] == "onnx_default")
    assert intake.scannable.classifier.differentiable


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"net": {f"module.{key}": value for key, value in state.items()}, "acc": 0.9},
        lambda state: {"checkpoint": {"model": {f"_orig_mod.module.{key}": value for key, value in state.items()}}},
        lambda state: {f"model.{key}": value for key, value in state.items()},
    ],
)
def test_nesting_and_prefixes(tmp_path: Path, wrapped) -> None:
    torch.save(wrapped(toy().state_dict()), tmp_path / "weights.pth.tar")
    arch = f"{write_arch(tmp_path / 'arch.py')}:toy"
    assert load_toy(tmp_path, tmp_path / "weights.pth.tar", arch=arch).subject.clean_accuracy == 1


def test_containers_give_one_classifier(tmp_path: Path) -> None:
    module = toy()
    arch = f"{write_arch(tmp_path / 'arch.py')}:toy"
    torch.save(module, tmp_path / "whole.pt")
    torch.save(nn.DataParallel(module), tmp_path / "parallel.pt")
    torch.save(module.state_dict(), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "weights.safetensors")
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    formats = {}
    for path in sorted(tmp_path.glob("*[ts]")):
        if path.suffix not in (".pt", ".safetensors"):
            continue
        weights = path.stem in ("legacy", "weights")
        intake = load_toy(tmp_path, path, arch=arch if weights else None)
        formats[path.stem] = intake.subject.format
        with torch.no_grad():
            prepared = images * intake.subject.preprocessing.scale
            if intake.subject.preprocessing.mean:
                prepared = (prepared - intake.subject.preprocessing.mean[0]) / intake.subject.preprocessing.std[0]
            torch.testing.assert_close(intake.scannable.classifier(images), module(prepared))
    assert formats == {
        "whole": "PyTorch module",
        "parallel": "PyTorch module",
        "legacy": "PyTorch state_dict",
        "weights": "safetensors",
    }


def test_number_of_classes_from_the_weights(tmp_path: Path) -> None:
    torch.save(toy().state_dict(), tmp_path / "weights.pt")
    arch = f"{write_arch(tmp_path / 'arch.py')}:sized"
    subject = load_toy(tmp_path, tmp_path / "weights.pt", arch=arch).subject
    assert "--arch called with num_classes=4" in subject.notes


def test_number_of_classes_from_weights_whose_keys_are_sorted(tmp_path: Path) -> None:
    """safetensors sorts them: the last one is not the head's."""
    safetensors.torch.save_file(toy().state_dict(), tmp_path / "weights.safetensors")
    arch = f"{write_arch(tmp_path / 'arch.py')}:sized"
    subject = load_toy(tmp_path, tmp_path / "weights.safetensors", arch=arch).subject
    assert "--arch called with num_classes=4" in subject.notes
    for name in ("resnet18", "mobilenet_v3_small", "googlenet", "regnet_x_400mf"):
        weights = torchvision.models.get_model(name, weights=None, num_classes=4, **OPTIONS.get(name, {})).state_dict()
        module, _ = build(f"torchvision:{name}", dict(sorted(weights.items())))
        fit(module, weights, name)


OPTIONS = {"googlenet": {"init_weights": False, "aux_logits": False}}


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "densenet121", "convnext_tiny", "swin_t"]
)
def test_whole_torchvision_networks_pass_the_unpickler(tmp_path: Path, name: str) -> None:
    from bdscan.intake.torch_files import read_checkpoint

    module = torchvision.models.get_model(name, weights=None, num_classes=4)
    torch.save(module, tmp_path / "whole.pt")
    found = read_checkpoint(tmp_path / "whole.pt").module
    assert type(found) is type(module)


def _onnx(path: Path, nodes: list, shape: list, output: list, **weights: np.ndarray) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    initialisers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "toy", [x], [y], initialisers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("batch", [1, 3, "n"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "flat"])
def test_onnx_inputs(tmp_path: Path, batch: int | str, layout: str) -> None:
    """Colour input in each layout, fixed and dynamic batch; the head and its features are found behind MatMul + Add."""
    weight = templates(channels=3).numpy().reshape(4, 3, 8, 8)
    if layout == "NHWC":
        weight = weight.transpose(0, 2, 3, 1)
    shape = {"NCHW": [batch, 3, 8, 8], "NHWC": [batch, 8, 8, 3], "flat": [batch, 192]}[layout]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=1),
    ]
    bias = np.array([0.0, 0.1, 0.2, 0.3], dtype=np.float32)
    w = np.ascontiguousarray(weight.reshape(4, -1).T)
    path = _onnx(tmp_path / "m.onnx", nodes, shape, [batch, 4], w=w, b=bias)
    x, y = quarters(channels=3)
    intake = load_toy(tmp_path, path, samples=str(write_npz(tmp_path / "colour.npz", x=x, y=y)))
    classifier, subject = intake.scannable.classifier, intake.subject
    assert subject.clean_accuracy == 1
    assert subject.preprocessing.layout == layout
    assert subject.input_shape == (3, 8, 8)
    assert subject.output == "probabilities"
    assert subject.onnxruntime_difference is not None
    images, _ = intake.scannable.samples.part(intake.scannable.samples.search[:7])
    assert classifier.head is not None
    assert classifier.features is not None
    torch.testing.assert_close(classifier.head[1], torch.from_numpy(bias))
    expected = classifier.features(images) @ classifier.head[0].T + classifier.head[1]
    torch.testing.assert_close(classifier(images), expected, atol=1e-4, rtol=1e-4)


def test_grey_onnx_without_channel_axis(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)]
    path = _onnx(tmp_path / "m.onnx", nodes, ["n", 8, 8], ["n", 4], w=templates().numpy())
    assert load_toy(tmp_path, path).subject.input_shape == (1, 8, 8)


def test_torch_network_that_wants_flat_input(tmp_path: Path) -> None:
    torch.save(nn.Sequential(linear()), tmp_path / "flat.pt")
    subject = load_toy(tmp_path, tmp_path / "flat.pt").subject
    assert subject.preprocessing.layout == "flat"
    assert subject.clean_accuracy == 1
