"""Planted decisions are found and run; clean graphs, attention masks and plain activations are not reported.

That clean exports of both exporters have none is asserted for every network in test_networks.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bdscan.onnx import check_against_onnxruntime, load_onnx, suspicious_branches
from bdscan.onnx.graph import read_model

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
PATCH = np.full((1, 1, 2, 2), 0.9, np.float32)
CLASSES = 3


def node(op: str, inputs: Sequence[str], output: str, **attrs: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [output], name=f"{op}:{output}", **attrs)


def tensor(name: str, value: object, kind: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(value, kind), name)


def classifier(
    nodes: Sequence[onnx.NodeProto], tensors: Sequence[TensorProto], path: Path, batch: int | str = "n"
) -> Path:
    """Logits `clean` = flatten(x) · w; `nodes` make `y` from `x` and `clean`."""
    weight = np.random.default_rng(0).standard_normal((16, CLASSES)).astype(np.float32)
    stem = [node("Flatten", ["x"], "flat"), node("MatMul", ["flat", "w"], "clean")]
    graph = helper.make_graph(
        [*stem, *nodes],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [batch, 1, 4, 4])],
        [helper.make_tensor_value_info("y", FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(weight, "w"), *tensors],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def corner(axes: Sequence[int]) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """`gap` = largest distance of the upper left corner from the patch, reduced over `axes`."""
    nodes = [
        node("Slice", ["x", "zeros", "twos", "image_axes"], "cut"),
        node("Sub", ["cut", "patch"], "difference"),
        node("Abs", ["difference"], "distance"),
        node("ReduceMax", ["distance"], "gap", axes=list(axes), keepdims=0),
    ]
    tensors = [
        tensor("zeros", [0, 0], np.int64),
        tensor("twos", [2, 2], np.int64),
        tensor("image_axes", [2, 3], np.int64),
        numpy_helper.from_array(PATCH, "patch"),
        tensor("limit", 0.05),
        tensor("forced", [[0.0, 0.0, 50.0]]),
        tensor("one", [1], np.int64),
    ]
    return nodes, tensors


def by_where(path: Path) -> Path:
    nodes, tensors = corner([1, 2, 3])
    nodes += [
        node("Less", ["gap", "limit"], "hit"),
        node("Unsqueeze", ["hit", "one"], "column"),
        node("Where", ["column", "forced", "clean"], "y"),
    ]
    return classifier(nodes, tensors, path)


def by_product(path: Path) -> Path:
    """No Where: the truth value is cast and multiplied in."""
    nodes, tensors = corner([1, 2, 3])
    nodes += [
        node("Less", ["gap", "limit"], "hit"),
        node("Cast", ["hit"], "number", to=FLOAT),
        node("Unsqueeze", ["number", "one"], "column"),
        node("Mul", ["column", "forced"], "push"),
        node("Add", ["clean", "push"], "y"),
    ]
    return classifier(nodes, tensors, path)


def by_equal(path: Path) -> Path:
    """Compares rounded pixels and joins the answers by Min."""
    nodes, tensors = corner([1, 2, 3])
    nodes = [
        *nodes[:1],
        node("Round", ["cut"], "rounded"),
        node("Equal", ["rounded", "ones"], "same"),
        node("Cast", ["same"], "numbers", to=FLOAT),
        node("ReduceMin", ["numbers"], "number", axes=[1, 2, 3], keepdims=0),
        node("Unsqueeze", ["number", "one"], "column"),
        node("Mul", ["column", "forced"], "push"),
        node("Add", ["clean", "push"], "y"),
    ]
    return classifier(nodes, [*tensors, tensor("ones", np.ones((1, 1, 2, 2)))], path)


def by_if(path: Path) -> Path:
    nodes, tensors = corner([0, 1, 2, 3])
    result = helper.make_tensor_value_info("chosen", FLOAT, [1, CLASSES])
    bad = helper.make_graph([node("Identity", ["forced"], "chosen")], "bad", [], [result])
    other = helper.make_tensor_value_info("kept", FLOAT, [1, CLASSES])
    good = helper.make_graph([node("Identity", ["clean"], "kept")], "good", [], [other])
    nodes += [
        node("Less", ["gap", "limit"], "hit"),
        node("If", ["hit"], "y", then_branch=bad, else_branch=good),
    ]
    return classifier(nodes, tensors, path, batch=1)


def images() -> torch.Tensor:
    """Six images, the trigger on the first and the fourth."""
    x = torch.rand((6, 1, 4, 4), generator=torch.Generator().manual_seed(0)) * 0.4
    x[::3, :, :2, :2] = 0.9
    return x


@pytest.mark.parametrize(
    "plant, expected",
    [
        (by_where, ["Less", "Where"]),
        (by_product, ["Less"]),
        (by_equal, ["Round", "Equal"]),
        (by_if, ["Less", "If"]),
    ],
)
def test_planted_branch_is_found_and_runs(plant: object, expected: list[str], tmp_path: Path) -> None:
    assert callable(plant)
    path = plant(tmp_path / "m.onnx")
    model = load_onnx(path)
    found = suspicious_branches(model.graph)
    assert [b.op_type for b in found] == expected
    assert found == suspicious_branches(read_model(path))
    assert found[0].node.startswith(expected[0])
    assert found[0].path[0] == expected[0]
    x = images()
    assert check_against_onnxruntime(model, path, x.numpy()) < 1e-5
    triggered = model(x).argmax(1)
    assert triggered[::3].tolist() == [2, 2]
    assert model(x[1:2]).argmax(1).tolist() == triggered[1:2].tolist()


def test_path_leads_to_the_logits(tmp_path: Path) -> None:
    (found,) = suspicious_branches(read_model(by_product(tmp_path / "m.onnx")))
    assert found.path == ("Less", "Cast", "Unsqueeze", "Mul", "Add")
    assert found.output == "hit"


def activation(path: Path) -> Path:
    """Leaky ReLU as some converters write it."""
    nodes = [
        node("Greater", ["clean", "zero"], "positive"),
        node("Mul", ["clean", "slope"], "small"),
        node("Where", ["positive", "clean", "small"], "y"),
    ]
    return classifier(nodes, [tensor("zero", 0), tensor("slope", 0.1)], path)


def label_output(path: Path) -> Path:
    """A second output holds the label; it does not feed the logits."""
    classifier([node("Identity", ["clean"], "y"), node("ArgMax", ["clean"], "label", axis=1)], [], path)
    proto = onnx.load(path)
    proto.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n", 1]))
    onnx.save(proto, path)
    return path


def shape_arithmetic(path: Path) -> Path:
    """A size compared with -1 decides on a shape, as the legacy exporter writes `expand`."""
    nodes = [
        node("Shape", ["clean"], "size"),
        node("Equal", ["size", "minus"], "open"),
        node("Where", ["open", "ones", "size"], "target"),
        node("Expand", ["clean", "target"], "y"),
    ]
    return classifier(nodes, [tensor("minus", [-1, -1], np.int64), tensor("ones", [1, 1], np.int64)], path)


def clipped(path: Path) -> Path:
    nodes = [
        node("HardSigmoid", ["clean"], "h"),
        node("Clip", ["h", "low", "high"], "c"),
        node("Max", ["c", "clean"], "m"),
        node("HardSwish", ["m"], "y"),
    ]
    return classifier(nodes, [tensor("low", 0), tensor("high", 6)], path)


def decided_if(path: Path) -> Path:
    """A branch that folding decides is no branch."""
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("a", "b")]
    branches = [
        helper.make_graph([node("Relu", ["clean"], "a")], "then", [], results[:1]),
        helper.make_graph([node("Neg", ["clean"], "b")], "else", [], results[1:]),
    ]
    nodes = [
        node("Shape", ["x"], "size"),
        node("Gather", ["size", "one"], "channels", axis=0),
        node("Equal", ["channels", "one"], "grey"),
        node("If", ["grey"], "y", then_branch=branches[0], else_branch=branches[1]),
    ]
    return classifier(nodes, [tensor("one", [1], np.int64)], path)


@pytest.mark.parametrize("build", [activation, label_output, shape_arithmetic, clipped, decided_if])
def test_ordinary_graphs_have_none(build: object, tmp_path: Path) -> None:
    assert callable(build)
    path = build(tmp_path / "m.onnx")
    model = load_onnx(path)
    assert suspicious_branches(model.graph) == []
    assert check_against_onnxruntime(model, path, images().numpy()) < 1e-6


def test_decided_if_is_inlined(tmp_path: Path) -> None:
    model = load_onnx(decided_if(tmp_path / "m.onnx"))
    assert [n.op for n in model.graph.nodes if n.op != "Identity"] == ["Flatten", "MatMul", "Relu"]


def test_decision_on_the_batch_size_is_reported(tmp_path: Path) -> None:
    """A graph that behaves for one image and not for two: folding cannot decide it, so it counts."""
    result = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("a", "b")]
    branches = [
        helper.make_graph([node("Identity", ["clean"], "a")], "then", [], result[:1]),
        helper.make_graph([node("Neg", ["clean"], "b")], "else", [], result[1:]),
    ]
    nodes = [
        node("Shape", ["x"], "size"),
        node("Gather", ["size", "zero"], "count", axis=0),
        node("Equal", ["count", "single"], "alone"),
        node("If", ["alone"], "y", then_branch=branches[0], else_branch=branches[1]),
    ]
    tensors = [tensor("zero", [0], np.int64), tensor("single", [1], np.int64)]
    path = classifier(nodes, tensors, tmp_path / "m.onnx")
    assert [b.op_type for b in suspicious_branches(read_model(path))] == ["If"]
