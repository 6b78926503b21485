"""What kind of model file this is, by its content; the suffix only settles what content cannot."""

from __future__ import annotations

import struct
import tarfile
import zipfile
from enum import StrEnum
from pathlib import Path

from bdscan.errors import UsageError
from bdscan.onnx import OnnxError
from bdscan.onnx.prepare import parse


class Format(StrEnum):
    TORCH = "PyTorch"  # torch.save: state_dict, checkpoint or whole module
    TORCHSCRIPT = "TorchScript"
    SAFETENSORS = "safetensors"
    ONNX = "ONNX"


PADDING = 4096  # bytes: headers end in spaces up to some alignment
ADVICE: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n", "an HDF5 (Keras) file: convert it to ONNX first, e.g. with tf2onnx"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x93NUMPY", "a NumPy array, not a model"),
    (b"\x89PNG", "a picture, not a model"),
    (b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (b"BZh", "bzip2-compressed: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first"),
    (b"GGUF", "a GGUF language model: only image classifiers can be scanned"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
)


def detect_format(path: Path) -> Format:
    """The file's format; UsageError (one line) for a file that is none, or is truncated."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    for signature, advice in ADVICE:
        if head.startswith(signature):
            raise UsageError(f"model {path}: {advice}")
    if head[4:8] == b"TFL3":
        raise UsageError(f"model {path}: a TensorFlow Lite file: convert it to ONNX first")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return Format.TORCH
    if _is_safetensors(head, path):
        return Format.SAFETENSORS
    if _is_text(head):
        raise UsageError(f"model {path}: a text file, not a model")
    if len(head) > 262 and head[257:262] == b"ustar" and tarfile.is_tarfile(path):
        raise UsageError(f"model {path}: a tar archive: unpack it, or save the weights again with torch.save")
    if _is_onnx(path):
        return Format.ONNX
    raise UsageError(f"model {path}: neither PyTorch, TorchScript, safetensors nor ONNX (or truncated)")


def _zip_kind(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile meets hostile bytes: any type of error may come out
        raise UsageError(f"model {path}: a truncated or damaged PyTorch file: fetch it again") from None
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return Format.TORCHSCRIPT
    if "data.pkl" in inner:
        return Format.TORCH
    if any(name.startswith("models/") and name.endswith(".json") for name in inner | set(names)):
        raise UsageError(f"model {path}: a torch.export archive: export to ONNX or save the state_dict instead")
    if any(name.endswith(".npy") for name in names):
        raise UsageError(f"model {path}: NumPy arrays, not a model")
    raise UsageError(f"model {path}: a zip archive that holds no PyTorch model")


def _is_safetensors(head: bytes, path: Path) -> bool:
    if len(head) < 10 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    if length > 100 * 2**20:
        return False
    if length + 8 > path.stat().st_size:
        raise UsageError(f"model {path}: a truncated safetensors file: fetch it again")
    with path.open("rb") as stream:  # the library judges the JSON between these two braces
        stream.seek(max(8, 8 + length - PADDING))
        return stream.read(min(length, PADDING)).rstrip(b" ").endswith(b"}")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character cut by the end of `head` is no proof
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\r\n\t\f" for char in text)


def _is_onnx(path: Path) -> bool:
    try:
        return len(parse(path).graph.node) > 0
    except OnnxError:
        if path.suffix == ".onnx":
            raise UsageError(f"model {path}: a damaged or truncated ONNX file: fetch it again") from None
        return False
