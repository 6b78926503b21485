"""ModelProto -> Graph: plain values in evaluation order, checked."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import AttributeProto
from torch import Tensor

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.errors import NotAClassifier, OnnxError, UnsupportedOperators
from bdscan.onnx.ops import OPERATORS
from bdscan.onnx.prepare import MAX_NODES, parse, prepare
from bdscan.onnx.tensors import TensorReader

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class ValueInfo:
    """A graph input or output: `shape` has None for a dynamic size, and is None itself where the rank is unknown."""

    name: str
    shape: Shape | None
    dtype: torch.dtype


@dataclass(frozen=True)
class Node:
    op: str
    name: str
    inputs: tuple[str, ...]  # "" where an optional input is absent
    outputs: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)  # numbers, strings, tensors, Graph; "outputs": how many

    @property
    def reads(self) -> frozenset[str]:
        """Names it needs from around it: inputs, and what its subgraphs capture."""
        captured = [g.captured for g in self.attrs.values() if isinstance(g, Graph)]
        return frozenset(i for i in self.inputs if i).union(*captured)

    @property
    def label(self) -> str:
        return f"{self.op} node {self.name or self.outputs[0]!r}"


@dataclass(frozen=True)
class Graph:
    """Nodes in evaluation order; `tensors` are the initialisers and constants, `trainable` the initialisers that
    a repair may change (float, top level)."""

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    nodes: tuple[Node, ...]
    tensors: dict[str, Tensor]
    trainable: frozenset[str]
    opset: int

    @property
    def captured(self) -> frozenset[str]:
        """Names read from an outer scope."""
        own = set(self.tensors) | {i.name for i in self.inputs} | {o for n in self.nodes for o in n.outputs}
        needed = {r for n in self.nodes for r in n.reads} | {o.name for o in self.outputs}
        return frozenset(needed - own)


def read_model(path: Path, reader: TensorReader | None = None) -> Graph:
    """The graph of an untrusted file, checked but not yet folded.

    Raises UnsupportedOperators, which names them all, or OnnxError, one line for anything else.
    """
    return build_graph(prepare(parse(path)), reader or TensorReader(path.parent))


def classification_output(outputs: tuple[ValueInfo, ...]) -> ValueInfo:
    """The first float output of shape (N, K), else (N, K, 1, ...), else of unknown shape; NotAClassifier if none."""
    floats = [o for o in outputs if o.dtype.is_floating_point]
    flat = [o for o in floats if o.shape is not None and len(o.shape) == 2]
    tall = [o for o in floats if o.shape is not None and len(o.shape) > 2 and set(o.shape[2:]) == {1}]
    unknown = [o for o in floats if o.shape is None]
    for choice in (*flat, *tall, *unknown):
        return choice
    raise NotAClassifier("the graph has no float output of shape (N, classes)")


def build_graph(proto: onnx.ModelProto, reader: TensorReader) -> Graph:
    """Check and convert a whole model; UnsupportedOperators names every operator that is missing."""
    missing: set[str] = set()
    for count, node in enumerate(_all_nodes(proto.graph), 1):
        if count > MAX_NODES:
            raise OnnxError(f"the graph has more than {MAX_NODES} nodes")
        standard = node.domain in ("", "ai.onnx")
        if not standard or node.op_type not in (*OPERATORS, "Constant", "If"):
            missing.add(node.op_type if standard else f"{node.domain}.{node.op_type}")
    if missing:
        raise UnsupportedOperators(tuple(sorted(missing)))
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 1)
    return _convert(proto.graph, opset, reader, frozenset(), top=True)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Its nodes and those of every subgraph."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _all_nodes(inner)


def _trainable(graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Float initialisers but for the statistics of batch normalisation, which no gradient reaches."""
    statistics = {name for node in graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    return frozenset(name for name, tensor in tensors.items() if tensor.is_floating_point()) - statistics


def _convert(
    graph: onnx.GraphProto, opset: int, reader: TensorReader, outer: frozenset[str], top: bool = False
) -> Graph:
    if graph.sparse_initializer:
        raise OnnxError("sparse initialisers are not supported")
    tensors = {t.name: reader.read(t) for t in graph.initializer}
    trainable = _trainable(graph, tensors) if top else frozenset()
    inputs = tuple(_value_info(v) for v in graph.input if v.name not in tensors)
    around = outer | set(tensors) | {i.name for i in inputs}
    names = {o for n in graph.node for o in n.output if o} | around
    nodes = []
    for node in graph.node:
        attrs = {a.name: _attribute(a, opset, reader, frozenset(names)) for a in node.attribute}
        if node.op_type == "Constant":
            if len(node.output) != 1 or node.output[0] in tensors:
                raise OnnxError(f"the constant {node.name!r} has no output of its own")
            tensors[node.output[0]] = _constant(attrs)
            continue
        if not any(node.output):
            raise OnnxError(f"a {node.op_type} node has no output")
        if node.op_type == "If" and not _is_whole_if(node, attrs):
            raise OnnxError("an If node lacks its condition or a branch, or a branch has other outputs")
        attrs["outputs"] = len(node.output)
        nodes.append(Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attrs))
    _refuse_duplicates(nodes, [*tensors, *(i.name for i in inputs)])
    ordered = _sorted(nodes, around | set(tensors))
    known = names | set(tensors)
    for output in graph.output:
        if output.name not in known:
            raise OnnxError(f"nothing provides the graph output {output.name!r}")
    outputs = tuple(_value_info(v) for v in graph.output)
    return Graph(inputs, outputs, ordered, tensors, trainable, opset)


def _is_whole_if(node: onnx.NodeProto, attrs: dict[str, Any]) -> bool:
    branches = [attrs.get("then_branch"), attrs.get("else_branch")]
    return len(node.input) == 1 and all(isinstance(b, Graph) and len(b.outputs) == len(node.output) for b in branches)


def _refuse_duplicates(nodes: Iterable[Node], given: Iterable[str]) -> None:
    seen = set(given)
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in seen:
                raise OnnxError(f"the value {name!r} is produced twice")
            seen.add(name)


def _sorted(nodes: list[Node], given: Iterable[str]) -> tuple[Node, ...]:
    """Evaluation order, the file's own where it is one (Kahn's algorithm)."""
    makers = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    present = set(given)
    waiting: list[int] = []
    readers: dict[int, list[int]] = defaultdict(list)
    for i, node in enumerate(nodes):
        for name in node.reads - present:
            if name not in makers:
                raise OnnxError(f"{node.label} reads {name!r}, which nothing provides")
        needs = {makers[name] for name in node.reads if name in makers}
        waiting.append(len(needs))
        for maker in needs:
            readers[maker].append(i)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for reader in readers[i]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        stuck = next(n for i, n in enumerate(nodes) if waiting[i] > 0)
        raise OnnxError(f"the graph has a cycle through {stuck.label}")
    return tuple(order)


def _attribute(a: AttributeProto, opset: int, reader: TensorReader, names: frozenset[str]) -> Any:
    if a.type == AttributeProto.TENSOR:
        return reader.read(a.t)
    if a.type == AttributeProto.GRAPH:
        return _convert(a.g, opset, reader, names)
    if a.type in (AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.FLOATS, AttributeProto.INTS):
        value = onnx.helper.get_attribute_value(a)
        return list(value) if a.type in (AttributeProto.FLOATS, AttributeProto.INTS) else value
    if a.type == AttributeProto.STRING:
        return a.s.decode("utf-8", "replace")
    if a.type == AttributeProto.STRINGS:
        return [s.decode("utf-8", "replace") for s in a.strings]
    raise OnnxError(f"attribute {a.name!r} has a type that is not supported")


def _constant(attrs: dict[str, Any]) -> Tensor:
    if "value" in attrs and isinstance(attrs["value"], Tensor):
        return attrs["value"]
    for name, dtype in (("value_float", torch.float32), ("value_int", torch.int64)):
        for key in (name, name + "s"):
            if key in attrs:
                return torch.tensor(attrs[key], dtype=dtype)
    raise OnnxError(f"a Constant of kind {sorted(attrs)} is not supported")


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in kind.shape.dim)


def _value_info(value: onnx.ValueInfoProto) -> ValueInfo:
    kind = value.type.tensor_type
    if value.type.HasField("tensor_type") and kind.elem_type:
        return ValueInfo(value.name, _shape(value), torch_dtype(kind.elem_type))
    if not value.type.WhichOneof("value"):  # subgraph outputs may leave it out
        return ValueInfo(value.name, None, torch.float32)
    raise OnnxError(f"the value {value.name!r} is not a tensor")
