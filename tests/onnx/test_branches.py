"""Planted decisions are found and run; clean graphs, attention masks and plain activations are not reported.

That clean exports of both exporters have none is asserted for every network in test_networks.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from branch_graphs import FLOAT, by_equal, by_if, by_product, by_where, classifier, images, node, tensor
from onnx import TensorProto, helper

from bdscan.onnx import check_against_onnxruntime, load_onnx, suspicious_branches
from bdscan.onnx.graph import read_model


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


def test_the_values_of_an_inlined_branch_take_no_names_from_those_around_it(tmp_path: Path) -> None:
    """Else the evaluator would compute another function than onnxruntime, and miss what the file really does."""
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("a", "b")]
    inside = [tensor("scale", [1.0, 2.0, 3.0])]
    branches = [
        helper.make_graph(
            [node("Mul", ["clean", "scale"], "t"), node("Relu", ["t"], "a")], "then", [], results[:1], inside
        ),
        helper.make_graph([node("Neg", ["clean"], "b")], "else", [], results[1:]),
    ]
    nodes = [
        node("If", ["yes"], "q", then_branch=branches[0], else_branch=branches[1]),
        node("Neg", ["q"], "q/t"),
        node("Mul", ["q/t", "q/scale"], "y"),
    ]
    tensors = [tensor("yes", True, np.bool_), tensor("q/scale", [1.0, 1.0, 1.0])]
    path = classifier(nodes, tensors, tmp_path / "m.onnx")
    assert check_against_onnxruntime(load_onnx(path), path, images().numpy()) < 1e-6


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
