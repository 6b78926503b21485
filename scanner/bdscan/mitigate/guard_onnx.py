"""Nodes before an ONNX graph's own: the input keeps its name and shape, and everything after it sees it transformed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor

from bdscan.errors import CannotJudge
from bdscan.intake.presented import Mould
from bdscan.mitigate.linear import Linear
from bdscan.onnx.prepare import OLDEST_OPSET, parse
from bdscan.onnx.write import write_initialisers

FLOATS = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.DOUBLE: np.float64}


def write_guarded(
    original: Path, path: Path, input_name: str, linear: Linear, offset: Tensor, mould: Mould, layout: str
) -> None:
    """The graph of `original` behind the transformation, in `path`; external weights go to `path`.data.

    Args:
        offset: (1, C, 1, 1), the raw value of a black pixel.
        layout: of the raw input, "NHWC" or channels first.

    CannotJudge where the input is of integers, or the opset older than 7.
    """
    write_initialisers(path, original, {})
    proto = parse(path)
    value = next(v for v in proto.graph.input if v.name == input_name)
    kind = FLOATS.get(value.type.tensor_type.elem_type)
    if kind is None:
        raise CannotJudge("--guard: the model's input is not of floats, so the transformation cannot stand before it")
    opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise CannotJudge(f"--guard: the graph's opset {opset} is older than {OLDEST_OPSET}; export the model again")
    chain = _Chain(_unused_prefix(proto.graph), input_name)
    size = (mould.shape[1], mould.shape[2])
    dims = [*size, mould.shape[0]] if layout == "NHWC" else [mould.shape[0], *size]
    if mould.tail is not None:
        chain.add("Reshape", np.array([-1, *dims], np.int64))
    if layout == "NHWC":
        chain.add("Transpose", perm=[0, 3, 1, 2])
    black = None if linear.keeps_constants or not bool(offset.any()) else offset.numpy().astype(kind)
    if black is not None:
        chain.add("Sub", black)
    chain.add("MatMul", linear.rows.numpy().astype(kind), first=True)
    chain.add("MatMul", linear.columns.numpy().astype(kind))
    if black is not None:
        chain.add("Add", black)
    if layout == "NHWC":
        chain.add("Transpose", perm=[0, 2, 3, 1])
    if mould.tail is not None:
        chain.add("Reshape", np.array([-1, *mould.tail], np.int64))
    _redirect(proto.graph, input_name, chain.value)
    own = list(proto.graph.node)
    proto.graph.ClearField("node")
    proto.graph.node.extend([*chain.nodes, *own])
    path.write_bytes(proto.SerializeToString())


@dataclass
class _Chain:
    """Nodes one behind the other. Constants are nodes too: old files would have to list initialisers as inputs."""

    prefix: str
    value: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(
        self, op: str, constant: np.ndarray | None = None, first: bool = False, perm: Sequence[int] | None = None
    ) -> None:
        inputs, name = [self.value], f"{self.prefix}{len(self.nodes)}"
        if constant is not None:
            held = f"{name}_value"
            tensor = numpy_helper.from_array(np.ascontiguousarray(constant), held)
            self.nodes.append(helper.make_node("Constant", [], [held], name=held, value=tensor))
            inputs = [held, self.value] if first else [self.value, held]
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, perm=perm))
        self.value = name


def _redirect(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Everything that reads `old` reads `new`, in branches too."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
        for inner in _branches(node):
            _redirect(inner, old, new)


def _branches(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
        for inner in _branches(node):
            yield from _names(inner)


def _unused_prefix(graph: onnx.GraphProto) -> str:
    names, prefix = set(_names(graph)), "guard_"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return prefix
