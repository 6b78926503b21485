"""TensorProto -> torch, trusting nothing: sizes are checked before allocation, sidecars only beside the model."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.errors import OnnxError

MAX_BYTES = 8 * 2**30  # of all the tensors of one model together
_MAX_RANK = 16
# Types that TensorProto keeps in a list of integers instead of raw bytes
_TYPED: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}
# Every field that can hold a tensor's values; readers differ in which they take where a file fills two
_PLACES = (
    "raw_data", "external_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data",
)  # fmt: skip


class TensorReader:
    """Decodes one model's tensors and keeps count of the bytes; `folder` is None where sidecars are not allowed."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.total = 0
        self.sidecars: set[str] = set()

    def read(self, proto: TensorProto) -> Tensor:
        """The tensor's values, in memory of their own.  OnnxError where data and dims disagree."""
        dtype, shape = torch_dtype(proto.data_type), tuple(proto.dims)
        if len(shape) > _MAX_RANK or any(d < 0 for d in shape):
            raise OnnxError(f"tensor {proto.name!r} has impossible dims {list(shape)[:_MAX_RANK]}")
        count = math.prod(shape)
        size = count * dtype.itemsize
        self.total += size
        if self.total > MAX_BYTES:
            raise OnnxError(f"the model's tensors are larger than {MAX_BYTES // 2**30} GiB together")
        if len(kept := [name for name in _PLACES if len(getattr(proto, name))]) > 1:
            raise OnnxError(f"tensor {proto.name!r} holds its data in several places ({', '.join(kept)})")
        if proto.data_location == TensorProto.EXTERNAL:
            return _from_bytes(self._external(proto, size), dtype, shape)
        if proto.HasField("segment"):
            raise OnnxError(f"tensor {proto.name!r} is segmented, which is not supported")
        if proto.HasField("raw_data"):
            if len(proto.raw_data) != size:
                raise OnnxError(f"tensor {proto.name!r} declares {size} bytes and holds {len(proto.raw_data)}")
            return _from_bytes(proto.raw_data, dtype, shape)
        held = len(getattr(proto, _TYPED.get(proto.data_type, "int32_data")))
        if held != count:
            raise OnnxError(f"tensor {proto.name!r} declares {count} values and holds {held}")
        if dtype == torch.bfloat16:
            bits = np.array(proto.int32_data, dtype=np.uint16).reshape(shape)
            return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(np.array(numpy_helper.to_array(proto)))

    def _external(self, proto: TensorProto, size: int) -> bytes:
        entries = {e.key: e.value for e in proto.external_data}
        location = entries.get("location", "")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise OnnxError(f"tensor {proto.name!r} has an unreadable place in its data file") from None
        if length != size or offset < 0:
            raise OnnxError(f"tensor {proto.name!r} declares {size} bytes and takes {length} at offset {offset}")
        if self.folder is None:
            raise OnnxError(f"tensor {proto.name!r} lies in another file, which is not allowed here")
        self.sidecars.add(location)
        return read_sidecar(self.folder, location, offset, length)


def read_sidecar(folder: Path, location: str, offset: int, length: int) -> bytes:
    """Bytes of a plain file below `folder`; no absolute path, no `..`, no symbolic link on the way."""
    parts = Path(location).parts
    if not parts or os.path.isabs(location) or ".." in parts or "\\" in location or "\0" in location:
        raise OnnxError(f"external data {location!r} is not inside the model's folder")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise OnnxError(f"external data {location!r} is a symbolic link")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise OnnxError(f"external data {location!r} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OnnxError(f"external data {location!r} is not a plain file")
        if status.st_nlink > 1:  # an archive can link to any file of the same disk, and nothing else would show it
            raise OnnxError(f"external data {location!r} is a hard link; copy the file")
        if offset + length > status.st_size:
            raise OnnxError(f"external data {location!r} has {status.st_size} bytes, {offset + length} are asked for")
        file.seek(offset)
        return file.read(length)


def _from_bytes(raw: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not raw:
        return torch.empty(shape, dtype=dtype)
    if dtype == torch.bool:  # any byte but 0 is true; torch is undefined on others
        return torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(shape) != 0
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def walk_tensors(graph: onnx.GraphProto) -> list[TensorProto]:
    """Every tensor of a graph: initialisers and node attributes, subgraphs included."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found += walk_tensors(inner)
    return found
