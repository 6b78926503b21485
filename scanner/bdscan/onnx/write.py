"""Writing changed initialisers back into a copy of the file they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import TensorProto
from torch import Tensor

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.errors import OnnxError
from bdscan.onnx.prepare import parse
from bdscan.onnx.tensors import TensorReader, walk_tensors

_ALIGNMENT = 4096  # runtimes map external data by page


def write_initialisers(path: Path, like: Path, values: Mapping[str, Tensor]) -> None:
    """The graph of `like` with `values` (by initialiser name) in place of its own; its sidecars become one."""
    proto = parse(like)
    own = {t.name: t for t in proto.graph.initializer}
    for name, value in values.items():
        if name not in own or tuple(own[name].dims) != tuple(value.shape):
            raise OnnxError(f"{like.name} has no initialiser {name!r} of shape {list(value.shape)}")
    write_model(path, proto, like, values)


def write_model(path: Path, proto: onnx.ModelProto, like: Path, values: Mapping[str, Tensor] | None = None) -> None:
    """Write `proto`, which was made from that of `like`, with `values` (by initialiser name) in place of its own.

    What was external stays external, in `path`.data; it is read from beside `like`. `proto` is changed.
    """
    values = values or {}
    reader = TensorReader(like.parent)
    own = {t.name: t for t in proto.graph.initializer}
    external = [t for t in walk_tensors(proto.graph) if t.data_location == TensorProto.EXTERNAL]
    sidecar = path.with_name(path.name + ".data")
    if external and sidecar.resolve() == like.with_name(like.name + ".data").resolve():
        raise OnnxError("the repaired model cannot be written over the file it is read from")
    kept = {id(t): reader.read(t) for t in external if t.name not in values}
    for name, value in values.items():
        _fill(own[name], value)
    for tensor in external:
        if id(tensor) in kept:
            _fill(tensor, kept[id(tensor)])
    if external:
        with sidecar.open("wb") as file:
            for tensor in external:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                _move_out(tensor, sidecar.name, file.tell())
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")
    path.write_bytes(proto.SerializeToString())


def _fill(tensor: TensorProto, value: Tensor) -> None:
    """Replace the values, in the type the file declares."""
    flat = value.to(device="cpu", dtype=torch_dtype(tensor.data_type)).contiguous().reshape(-1)
    for name in ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "external_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = flat.view(torch.uint8).numpy().tobytes()


def _move_out(tensor: TensorProto, location: str, offset: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", len(tensor.raw_data))):
        tensor.external_data.add(key=key, value=str(value))
