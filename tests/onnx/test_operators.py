"""The node cases of ONNX's own backend tests, for every operator the evaluator claims."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.errors import OnnxError, UnsupportedOperators
from bdscan.onnx.evaluator import Evaluator
from bdscan.onnx.fold import fold
from bdscan.onnx.graph import Graph, build_graph
from bdscan.onnx.prepare import prepare
from bdscan.onnx.tensors import TensorReader

# Cases of claimed operators that are left out, each kind with its reason.
NO_DTYPE = "element type without a torch counterpart here (strings, sub-byte, 8-bit floats, optionals, sequences)"
NO_KERNEL = "torch has no arithmetic on uint16, uint32 and uint64, which no image classifier uses"
TRAINING = "Dropout in training mode is random; it is refused, see test_training_dropout_is_refused"


@functools.cache
def cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases' own generation overflows on purpose
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for case in load_model_tests(kind="node")}


@functools.cache
def graph_of(name: str) -> Graph | str:
    """The folded graph, or why the case is left out."""
    reader = TensorReader(None)
    try:
        graph = build_graph(prepare(cases()[name].model), reader)
    except UnsupportedOperators:
        return "operator not claimed"
    except OnnxError as error:
        if "element type" in str(error) or "is not a tensor" in str(error):
            return NO_DTYPE
        raise
    if "training_dropout" in name and "zero_ratio" not in name:
        return TRAINING
    if any(v.dtype in (torch.uint16, torch.uint32, torch.uint64) for v in graph.inputs) and "cast" not in name:
        return NO_KERNEL
    return fold(graph)


@functools.cache
def claimed() -> tuple[str, ...]:
    return tuple(name for name in cases() if not isinstance(graph_of(name), str))


def tensor(value: Any) -> torch.Tensor:
    if isinstance(value, TensorProto):
        return TensorReader(None).read(value)
    array = np.array(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def tolerance(dtype: torch.dtype, case: Any) -> tuple[float, float]:
    """Relative (the case's own, 1e-3 as a rule) and absolute; half precision rounds by 2^-11, bfloat16 by 2^-8."""
    wide = {torch.float16: (1e-3, 1e-3), torch.bfloat16: (1e-2, 1e-2)}
    rtol, atol = wide.get(dtype, (0.0, 1e-5))
    return max(rtol, case.rtol), atol


@pytest.mark.parametrize("name", claimed())
def test_backend_node_case(name: str) -> None:
    case, graph = cases()[name], graph_of(name)
    assert isinstance(graph, Graph)
    evaluator = Evaluator(graph)
    for given, expected in case.data_sets:
        feeds = {info.name: tensor(value) for info, value in zip(graph.inputs, given, strict=True)}
        results = evaluator.run(feeds)
        for info, value in zip(graph.outputs, expected, strict=True):
            got, wanted = results[info.name], tensor(value)
            rtol, atol = tolerance(wanted.dtype, case)
            torch.testing.assert_close(got, wanted, rtol=rtol, atol=atol, equal_nan=True)


def test_enough_cases_are_claimed() -> None:
    assert len(claimed()) >= 1200


def test_training_dropout_is_refused() -> None:
    case = cases()["test_training_dropout_default"]
    graph = fold(build_graph(prepare(case.model), TensorReader(None)))
    feeds = {i.name: tensor(v) for i, v in zip(graph.inputs, case.data_sets[0][0], strict=True)}
    with pytest.raises(OnnxError, match="training mode"):
        Evaluator(graph).run(feeds)


def test_unknown_element_type_is_named() -> None:
    with pytest.raises(OnnxError, match="STRING"):
        torch_dtype(TensorProto.STRING)


@pytest.mark.parametrize("begin, end", [(-9, -99), (-4, -99), (9, -99), (-9, 3), (-2, -9), (3, 0)])
def test_a_backward_slice_clamps_its_start_as_onnxruntime_does(begin: int, end: int) -> None:
    ends = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("begin", begin), ("end", end), ("axis", 0), ("step", -1))
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in (("x", 4), ("y", None)))
    nodes = [helper.make_node("Slice", ["x", "begin", "end", "axis", "step"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = np.arange(4, dtype=np.float32)
    (wanted,) = session.run(None, {"x": given})
    got = Evaluator(fold(build_graph(prepare(model), TensorReader(None)))).run({"x": torch.from_numpy(given)})["y"]
    assert got.tolist() == wanted.tolist()
