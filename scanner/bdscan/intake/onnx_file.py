"""ONNX files: our evaluator as the network, and its check against onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, TensorProto
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError

MAX_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class OnnxFile:
    module: nn.Module
    input_shape: tuple[int | None, ...]
    batch: int | None
    sidecars: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def read_onnx(path: Path) -> OnnxFile:
    """CannotJudge for operators that the evaluator does not have (all are named); UsageError for a broken file."""
    from bdscan.onnx import OnnxError, UnsupportedOperators, load_onnx

    sidecars = external_files(path)
    try:
        model = load_onnx(path)
    except UnsupportedOperators as error:
        raise CannotJudge(f"model {path}: {error}") from None
    except OnnxError as error:
        raise CannotJudge(f"model {path}: {error}") from None
    return OnnxFile(model, model.input_shape, model.fixed_batch, sidecars)


def external_files(path: Path) -> tuple[Path, ...]:
    """The files beside the model that hold its large tensors; UsageError where one is missing or lies elsewhere."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, OSError):
        raise UsageError(f"model {path}: a damaged or truncated ONNX file: fetch it again") from None
    folder = path.parent.resolve()
    names = sorted(
        {
            entry.value
            for tensor in _tensors(model.graph)
            if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    files = []
    for name in names:
        file = path.parent / name
        if not file.resolve().is_relative_to(folder):
            raise CannotJudge(f"model {path}: its weights are said to lie outside its folder ({name[:100]!r})")
        if not file.is_file():
            raise UsageError(f"model {path}: its weights file {name[:100]!r} is missing; it belongs beside the model")
        files.append(file)
    return tuple(files)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def difference_from_onnxruntime(module: nn.Module, path: Path, x: Tensor) -> float:
    """Largest relative difference of the outputs on `x`, the network's own input; CannotJudge beyond 1e-3."""
    from bdscan.onnx import check_against_onnxruntime

    difference = float(check_against_onnxruntime(module, path, x))
    if not difference <= MAX_DIFFERENCE:
        raise CannotJudge(
            f"model {path}: our evaluation of the graph differs from onnxruntime's by {difference:.1e} "
            f"(at most {MAX_DIFFERENCE:g} is accepted)"
        )
    return difference
