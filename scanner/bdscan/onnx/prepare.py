"""File -> ModelProto in a form the evaluator reads: local functions inlined, old opsets raised, shapes inferred."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.graph import MAX_NODES
from bdscan.onnx.tensors import TensorReader, walk_tensors

MAX_FILE = 2**31 - 1  # protobuf's own limit
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
    return proto


def prepare(proto: onnx.ModelProto, reader: TensorReader) -> onnx.ModelProto:
    """Inlined, raised to `OLDEST_OPSET` and with inferred shapes; what the file itself claims about inner shapes is
    dropped, because a lie there would end in folded constants."""
    for tensor in walk_tensors(proto.graph):
        _check_strings(tensor)
    if proto.functions:
        proto = _inline(proto)
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise OnnxError("the model imports no ONNX operator set")
    if opset < OLDEST_OPSET:
        try:
            proto = onnx.version_converter.convert_version(proto, 13)
        except Exception:  # the C++ converter has no exception type of its own; the graph may still run as it is
            pass
    return _infer(proto)


def _check_strings(tensor: TensorProto) -> None:
    if tensor.HasField("segment"):
        raise OnnxError(f"tensor {tensor.name!r} is segmented, which is not supported")


def _infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Add `value_info`.  Inference sees the graph without its large weights: dims are enough."""
    light = onnx.ModelProto()
    light.CopyFrom(_without_weights(proto))
    del light.graph.value_info[:]
    for output in light.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except Exception:  # advice only; without it less is folded and the run itself reports what is wrong
        return proto
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(inferred.graph.value_info)
    shapes = {o.name: o.type for o in inferred.graph.output}
    for output in proto.graph.output:
        found = shapes.get(output.name)
        if found is not None and found.tensor_type.HasField("shape"):
            output.type.CopyFrom(found)
    return proto


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Initialisers above a kilobyte become graph inputs of the same type and shape."""
    heavy = [t for t in proto.graph.initializer if t.ByteSize() > 1024 or t.data_location == TensorProto.EXTERNAL]
    if not heavy:
        return proto
    names = {t.name for t in heavy}
    light = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    graph, source = light.graph, proto.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.output.extend(source.output)
    graph.input.extend(i for i in source.input if i.name not in names)
    graph.initializer.extend(t for t in source.initializer if t.name not in names)
    graph.input.extend(onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in heavy)
    return light


def _inline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Replace calls of the model's own functions; refused where they would grow beyond `MAX_NODES` nodes."""
    _check_growth(proto)
    try:
        return onnx.inliner.inline_local_functions(proto)
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
