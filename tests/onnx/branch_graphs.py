"""Small graphs with a planted decision: logits of a linear map, and a corner that switches them to class 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

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


def brightness() -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """`over` = sum of the corner's four pixels less 3; stamped images are above, clean ones below 1.6."""
    mask = np.zeros((16, 1), np.float32)
    mask[[0, 1, 4, 5]] = 1
    nodes = [node("MatMul", ["flat", "mask"], "sum"), node("Sub", ["sum", "limit"], "over")]
    return nodes, [tensor("mask", mask), tensor("limit", 3.0), tensor("gain", [[0, 0, 50]])]


def by_ramp(path: Path) -> Path:
    nodes, tensors = brightness()
    nodes += [node("Relu", ["over"], "on"), node("Mul", ["on", "gain"], "push"), node("Add", ["clean", "push"], "y")]
    return classifier(nodes, tensors, path)


def images() -> torch.Tensor:
    """Six images, the trigger on the first and the fourth."""
    x = torch.rand((6, 1, 4, 4), generator=torch.Generator().manual_seed(0)) * 0.4
    x[::3, :, :2, :2] = 0.9
    return x
