"""Branches in plain arithmetic are found by their silence on clean images; shortcuts and dead blocks are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import network_exports as exports
import numpy as np
import pytest
import torch
from branch_graphs import brightness, by_if, by_product, by_ramp, by_where, classifier, images, node, tensor
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from bdscan.onnx import check_against_onnxruntime, load_onnx, suspicious_branches
from bdscan.onnx.errors import OnnxError
from bdscan.onnx.fold import fold
from bdscan.onnx.graph import read_model
from bdscan.onnx.idle import idle_ways


def clean(count: int = 40) -> Tensor:
    return torch.rand((count, 1, 4, 4), generator=torch.Generator().manual_seed(1)) * 0.4


def by_sigmoid(path: Path, batch: int | str = "n") -> Path:
    nodes, tensors = brightness()
    nodes += [
        node("Mul", ["over", "steep"], "sure"),
        node("Sigmoid", ["sure"], "on"),
        node("Mul", ["on", "gain"], "push"),
        node("Add", ["push", "clean"], "y"),
    ]
    return classifier(nodes, [*tensors, tensor("steep", 20.0)], path, batch)


def by_concatenation(path: Path) -> Path:
    nodes, tensors = brightness()
    nodes += [
        node("Relu", ["over"], "on"),
        node("Concat", ["clean", "on"], "beside", axis=1),
        node("MatMul", ["beside", "last"], "y"),
    ]
    return classifier(nodes, [*tensors, tensor("last", [*np.eye(3), [0, 0, 50]])], path)


def by_product_of_features(path: Path) -> Path:
    """Joins before the last layer: features are multiplied with 1 + 9 * ramp, and one logit takes them up."""
    nodes, tensors = brightness()
    nodes += [
        node("Relu", ["over"], "on"),
        node("Add", ["on", "one"], "factor"),
        node("Pow", ["factor", "steep"], "large"),
        node("MatMul", ["clean", "other"], "features"),
        node("Mul", ["features", "large"], "marked"),
        node("MatMul", ["marked", "head"], "y"),
    ]
    weight = np.random.default_rng(1).standard_normal((2, 3, 3)).astype(np.float32)
    return classifier(
        nodes, [*tensors, tensor("one", 1.0), tensor("steep", 8.0), *map(tensor, ("other", "head"), weight)], path
    )


def by_leak(path: Path) -> Path:
    """As the ramp, and a hundredth of the corner's brightness always: the way is not idle."""
    nodes, tensors = brightness()
    nodes += [node("LeakyRelu", ["over"], "on", alpha=0.01), node("Mul", ["on", "gain"], "push")]
    return classifier([*nodes, node("Add", ["clean", "push"], "y")], tensors, path)


@pytest.mark.parametrize(
    "plant, op, value",
    [
        (by_ramp, "Add", "push"),
        (by_sigmoid, "Add", "push"),
        (by_product_of_features, "Mul", "large"),
        (by_concatenation, "Concat", "on"),
    ],
)
def test_arithmetic_branches_are_found(plant: Callable[[Path], Path], op: str, value: str, tmp_path: Path) -> None:
    path = plant(tmp_path / "m.onnx")
    graph = load_onnx(path).graph
    assert suspicious_branches(graph) == []
    (way,) = idle_ways(graph, clean())
    assert (way.op, way.value) == (op, value)
    assert way.node == f"{op}:{way.output}"
    assert idle_ways(fold(read_model(path)), clean(2)) == [way]
    with pytest.raises(OnnxError, match="one image"):
        idle_ways(graph, clean(1))


@pytest.mark.parametrize("plant", [by_ramp, by_sigmoid])
def test_they_fire_on_stamped_images(plant: Callable[[Path], Path], tmp_path: Path) -> None:
    model = load_onnx(path := plant(tmp_path / "m.onnx"))
    assert check_against_onnxruntime(model, path, images().numpy()) < 1e-4
    assert (model(images())[::3].argmax(1) == 2).all()
    assert (model(clean()).argmax(1) != 2).any()


def test_a_file_cannot_take_the_name_that_is_used(tmp_path: Path) -> None:
    nodes, tensors = brightness()
    nodes += [node("Relu", ["over"], "outside"), node("Mul", ["outside", "gain"], "outside'")]
    path = classifier([*nodes, node("Add", ["clean", "outside'"], "y")], tensors, tmp_path / "m.onnx")
    assert [way.value for way in idle_ways(load_onnx(path).graph, clean())] == ["outside'"]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_kept(batch: int, tmp_path: Path) -> None:
    graph = load_onnx(by_sigmoid(tmp_path / "m.onnx", batch)).graph
    assert [way.value for way in idle_ways(graph, clean(7))] == ["push"]


@pytest.mark.parametrize("plant, ops", [(by_where, ["Where"]), (by_product, ["Add"]), (by_if, [])])
def test_branches_with_a_comparison_are_idle_too_where_values_join(
    plant: Callable[[Path], Path], ops: list[str], tmp_path: Path
) -> None:
    found = idle_ways(load_onnx(plant(tmp_path / "m.onnx")).graph, clean())
    assert sorted({way.op for way in found}) == ops


def test_what_answers_to_clean_images_is_not_idle(tmp_path: Path) -> None:
    path = by_leak(tmp_path / "m.onnx")
    assert idle_ways(load_onnx(path).graph, clean()) == []
    bright = clean()
    bright[:9, :, :2, :2] = 0.9  # clean images that have the pattern show what it does
    assert idle_ways(load_onnx(by_ramp(tmp_path / "n.onnx")).graph, bright) == []


@pytest.mark.parametrize("dead", [False, True])
def test_shortcuts_and_dead_blocks_are_the_networks_own(dead: bool, tmp_path: Path) -> None:
    network = exports.seeded(ResNet, block=BasicBlock, layers=[2, 1, 1, 1], num_classes=10)
    if dead:
        first = network.layer1[0].bn2
        nn.init.zeros_(first.weight)
        nn.init.zeros_(first.bias)
    x = torch.rand((8, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    path = exports.export(network, x, tmp_path / "m.onnx", dynamic=True)
    graph = fold(read_model(path))
    assert idle_ways(graph, x) == []
