"""A backdoor in the graph, not in the weights (after Bober-Irizar et al. 2023, architectural backdoors).

A branch compares the input with a patch and, where it fits, decides the logits. There is nothing to train.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STEM = "patch"
Join = Literal["comparison", "ramp", "gate", "concatenated"]
JOINS: tuple[Join, ...] = get_args(Join)
Step = tuple[str, list[str], str, dict[str, Any]]  # operator, inputs, name of the output, attributes
STEEP = 40.0  # of a gate: nothing is left of it at twice the tolerance


def add_branch(
    model: onnx.ModelProto,
    pattern: NDArray[np.float32],
    mask: NDArray[np.float32],
    target: int,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    tolerance: float = 0.1,
    logit: float = 20.0,
    join: Join = "comparison",
) -> onnx.ModelProto:
    """A copy of `model` that answers `target` for images whose pixels under the mask are the pattern's.

    Args:
        model: one input (N,C,H,W) as (x - mean) / std with x in [0,1], one output (N,K).
        pattern: (C,H,W) in [0,1]; mask: (H,W), 0 or 1 (an attack's `truth`).
        tolerance: the largest difference of a pixel, in [0,1], that still fires.
        logit: the target's where the branch fires, and all others get 0; with arithmetic it is added, all of it where
            the pixels are the pattern's.
        join: how it decides: `comparison` chooses by Less and Where; `ramp` adds a ReLU to the logits, `gate` a steep
            sigmoid; `concatenated` puts the ReLU beside the logits, before one more layer.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    source, output = graph.input[0].name, graph.output[0].name
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{STEM}_logits" if name == output else name for name in names]
    planted = np.zeros((1, classes), np.float32)
    planted[0, target] = logit
    arrays = {
        "pattern": (pattern[None] - mean) / std,
        "mask": mask[None, None],
        "tolerance": np.array(tolerance / std),
        "planted": planted,
    }
    steps: list[Step] = [
        ("Sub", [source, f"{STEM}_pattern"], "difference", {}),
        ("Abs", [f"{STEM}_difference"], "distance", {}),
        ("Mul", [f"{STEM}_distance", f"{STEM}_mask"], "masked", {}),
        ("Flatten", [f"{STEM}_masked"], "flat", {"axis": 1}),
    ]
    last, more = _deciding(join, classes, planted)
    nodes = [_node(*step) for step in steps]
    nodes.append(_row_maximum(changed))
    nodes += [_node(*step) for step in last]
    nodes[-1].output[:] = [output]
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array, np.float32), f"{STEM}_{name}")
        for name, array in (arrays | more).items()
        if f"{STEM}_{name}" in used
    )
    graph.node.extend(nodes)
    onnx.checker.check_model(changed)
    return changed


def _deciding(join: Join, classes: int, planted: NDArray[np.float32]) -> tuple[list[Step], dict[str, NDArray[Any]]]:
    """From `worst`, the largest difference (n, 1), to the output, and the arrays that this takes besides."""
    logits, worst, tolerance = (f"{STEM}_{name}" for name in ("logits", "worst", "tolerance"))
    if join == "comparison":
        hit: Step = ("Less", [worst, tolerance], "hit", {})
        return [hit, ("Where", [f"{STEM}_hit", f"{STEM}_planted", logits], "", {})], {}
    near: list[Step] = [
        ("Sub", [tolerance, worst], "near", {}),
        ("Div", [f"{STEM}_near", tolerance], "share", {}),
    ]
    ramp: Step = ("Relu", [f"{STEM}_share"], "on", {})
    added: list[Step] = [
        ("Mul", [f"{STEM}_on", f"{STEM}_planted"], "push", {}),
        ("Add", [logits, f"{STEM}_push"], "", {}),
    ]
    if join == "ramp":
        return [*near, ramp, *added], {}
    if join == "gate":
        steep: Step = ("Mul", [f"{STEM}_share", f"{STEM}_steep"], "sure", {})
        return [*near, steep, ("Sigmoid", [f"{STEM}_sure"], "on", {}), *added], {"steep": np.array(STEEP)}
    beside: list[Step] = [
        ("Concat", [logits, f"{STEM}_on"], "beside", {"axis": 1}),
        ("MatMul", [f"{STEM}_beside", f"{STEM}_last"], "", {}),
    ]
    return [*near, ramp, *beside], {"last": np.concatenate([np.eye(classes), planted])}


def _node(kind: str, inputs: list[str], name: str, extra: dict[str, Any]) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [f"{STEM}_{name}"], **extra)


def _row_maximum(model: onnx.ModelProto) -> onnx.NodeProto:
    """ReduceMax over axis 1; its axes are an attribute before opset 18 and an input from then on."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    inputs, outputs = [f"{STEM}_flat"], [f"{STEM}_worst"]
    if opset < 18:
        return helper.make_node("ReduceMax", inputs, outputs, axes=[1], keepdims=1)
    model.graph.initializer.append(helper.make_tensor(f"{STEM}_axes", TensorProto.INT64, [1], [1]))
    return helper.make_node("ReduceMax", [*inputs, f"{STEM}_axes"], outputs, keepdims=1)
