"""A backdoor in the graph, not in the weights (after Bober-Irizar et al. 2023, architectural backdoors).

A branch compares the input with a patch and, where it fits, replaces the logits. There is nothing to train.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STEM = "patch"


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
) -> onnx.ModelProto:
    """A copy of `model` that answers `target` for images whose pixels under the mask are the pattern's.

    Args:
        model: one input (N,C,H,W) as (x - mean) / std with x in [0,1], one output (N,K).
        pattern: (C,H,W) in [0,1]; mask: (H,W), 0 or 1 (an attack's `truth`).
        tolerance: the largest difference of a pixel, in [0,1], that still fires.
        logit: the target's logit where the branch fires; all others get 0.
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
    graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), f"{STEM}_{name}")
        for name, array in {
            "pattern": (pattern[None] - mean) / std,
            "mask": mask[None, None],
            "tolerance": np.array(tolerance / std),
            "planted": planted,
        }.items()
    )
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Sub", [source, f"{STEM}_pattern"], "difference", {}),
        ("Abs", [f"{STEM}_difference"], "distance", {}),
        ("Mul", [f"{STEM}_distance", f"{STEM}_mask"], "masked", {}),
        ("Flatten", [f"{STEM}_masked"], "flat", {"axis": 1}),
        ("Less", [f"{STEM}_worst", f"{STEM}_tolerance"], "hit", {}),
    ]
    nodes = [helper.make_node(kind, inputs, [f"{STEM}_{name}"], **extra) for kind, inputs, name, extra in steps]
    nodes.insert(4, _row_maximum(changed))
    nodes.append(helper.make_node("Where", [f"{STEM}_hit", f"{STEM}_planted", f"{STEM}_logits"], [output]))
    graph.node.extend(nodes)
    onnx.checker.check_model(changed)
    return changed


def _row_maximum(model: onnx.ModelProto) -> onnx.NodeProto:
    """ReduceMax over axis 1; its axes are an attribute before opset 18 and an input from then on."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    inputs, outputs = [f"{STEM}_flat"], [f"{STEM}_worst"]
    if opset < 18:
        return helper.make_node("ReduceMax", inputs, outputs, axes=[1], keepdims=1)
    model.graph.initializer.append(helper.make_tensor(f"{STEM}_axes", TensorProto.INT64, [1], [1]))
    return helper.make_node("ReduceMax", [*inputs, f"{STEM}_axes"], outputs, keepdims=1)
