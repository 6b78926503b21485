"""File -> ModelProto in a form the evaluator reads: local functions inlined, very old opsets raised."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import inliner, version_converter

from bdscan.onnx.errors import OnnxError

MAX_FILE = 2**31 - 1  # protobuf's own limit
MAX_NODES = 200_000
MAX_OUTPUTS = 1000
OLDEST_OPSET = 7  # from here on the handlers know every form themselves; before, broadcasting was an attribute
_NEWEST_IR = 64


def parse(path: Path) -> onnx.ModelProto:
    """The file as a message; OnnxError where it is none, is empty, or has no graph."""
    try:
        size = os.path.getsize(path)
        if size > MAX_FILE:
            raise OnnxError(f"{path.name} has {size} bytes; an ONNX file has at most {MAX_FILE}")
        raw = path.read_bytes()
    except OSError as error:
        raise OnnxError(f"{path.name} cannot be read: {error.strerror}") from None
    if not raw:
        raise OnnxError(f"{path.name} is empty")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(raw)
    except (DecodeError, RecursionError):
        raise OnnxError(f"{path.name} is not an ONNX file, or is truncated") from None
    if not 0 < proto.ir_version < _NEWEST_IR or not proto.HasField("graph") or not proto.opset_import:
        raise OnnxError(f"{path.name} is not an ONNX model")
    if not proto.graph.output:
        raise OnnxError(f"{path.name} holds a graph without outputs")
    strings = [*_strings(proto.graph), *(text for o in proto.opset_import for text in (o.domain,))]
    for function in proto.functions:
        strings += [function.name, function.domain, *function.input, *function.output, *_node_strings(function.node)]
    if not all(isinstance(text, str) for text in strings):
        raise OnnxError(f"{path.name} has names that are not UTF-8")
    return proto


def _strings(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """Every name in a graph. Protobuf hands over as bytes what is no UTF-8."""
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for value in (*graph.input, *graph.output):
        yield value.name
    yield from _node_strings(graph.node)


def _node_strings(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _strings(inner)


def prepare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Local functions inlined, very old opsets raised.  What the file claims about inner shapes is not read."""
    if len(proto.graph.output) > MAX_OUTPUTS:  # onnxruntime's time grows with their square
        raise OnnxError(f"the graph has {len(proto.graph.output)} outputs; at most {MAX_OUTPUTS} are read")
    if proto.functions:
        proto = _inline(proto)
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is not None and opset < OLDEST_OPSET:
        try:
            proto = version_converter.convert_version(proto, 13)
        except Exception:  # the C++ converter has no exception type of its own; the graph may still run as it is
            pass
    return proto


def _inline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Replace calls of the model's own functions; refused where they would grow beyond `MAX_NODES` nodes."""
    _check_growth(proto)
    try:
        inlined: onnx.ModelProto = inliner.inline_local_functions(proto)
        return inlined
    except Exception as error:  # C++; whatever it is, the file is at fault
        raise OnnxError(f"the model's local functions cannot be inlined: {error}") from None


def _check_growth(proto: onnx.ModelProto) -> None:
    bodies = {(f.domain, f.name): f for f in proto.functions}
    sizes: dict[tuple[str, str], int] = {}

    def grown(nodes: list[onnx.NodeProto], path: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += 1
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    total += grown(list(attribute.g.node), path)
            if key in bodies:
                if key in path or len(path) > 50:
                    raise OnnxError(f"the model's function {node.op_type!r} calls itself or nests too deeply")
                if key not in sizes:
                    sizes[key] = grown(list(bodies[key].node), (*path, key))
                total += sizes[key]
            if total > MAX_NODES:
                raise OnnxError(f"the model's functions grow beyond {MAX_NODES} nodes")
        return total

    grown(list(proto.graph.node), ())
