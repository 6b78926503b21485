"""ONNX files: our evaluator as the network, and its check against onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from onnx import TensorProto
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.onnx import OnnxError, OnnxModel, check_against_onnxruntime, load_onnx
from bdscan.onnx.prepare import parse
from bdscan.onnx.tensors import walk_tensors

MAX_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class OnnxFile:
    """The evaluator of a graph; its declared input shape (None: open), fixed batch size, and external weight files."""

    module: OnnxModel
    input_shape: tuple[int | None, ...] | None
    batch: int | None
    sidecars: tuple[Path, ...]


def read_onnx(path: Path) -> OnnxFile:
    """CannotJudge for operators that the evaluator does not have (all are named); UsageError for a broken file."""
    sidecars = external_files(path)
    try:
        model = load_onnx(path)
    except OnnxError as error:
        raise CannotJudge(f"model {path}: {error}") from None
    return OnnxFile(model, model.inputs[0].shape, model.fixed_batch, sidecars)


def external_files(path: Path) -> tuple[Path, ...]:
    """The files beside the model that hold its large tensors; UsageError where one is missing or lies elsewhere."""
    model = parse(path)
    folder = path.parent.resolve()
    names = sorted(
        {
            entry.value
            for tensor in walk_tensors(model.graph)
            if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    files = []
    for name in names:
        file = path.parent / name
        try:
            inside, there = file.resolve().is_relative_to(folder), file.is_file()
        except (OSError, ValueError, RuntimeError):  # too long a name, a zero byte, a loop of links
            raise CannotJudge(f"model {path}: its weights file {name[:100]!r} is no usable path") from None
        if not inside:
            raise CannotJudge(f"model {path}: its weights are said to lie outside its folder ({name[:100]!r})")
        if not there:
            raise UsageError(f"model {path}: its weights file {name[:100]!r} is missing; it belongs beside the model")
        files.append(file)
    return tuple(files)


def difference_from_onnxruntime(module: nn.Module, path: Path, x: Tensor) -> float:
    """Largest difference of the outputs on `x`, the network's own input (N, ...).

    CannotJudge where it is beyond 1e-3 of the largest output (of 1 for small ones), or onnxruntime cannot run the file.
    """
    assert isinstance(module, OnnxModel)
    try:
        difference = check_against_onnxruntime(module, path, x.numpy())
    except OnnxError as error:
        raise CannotJudge(f"model {path}: {error}") from None
    with torch.no_grad():
        largest = float(module(x.to(next(module.parameters(), x).device)).abs().max())
    if not difference <= MAX_DIFFERENCE * max(1.0, largest):
        raise CannotJudge(
            f"model {path}: our evaluation of the graph differs from onnxruntime's by {difference:.1e} "
            f"where outputs reach {largest:.1e}; this model cannot be judged"
        )
    return difference
