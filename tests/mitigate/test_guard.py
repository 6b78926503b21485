"""A guarded model is the transformation and then the model: checked here with runtimes, not with our own loader."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import planted_report
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.load import Intake, load
from bdscan.intake.presented import Mould
from bdscan.mitigate import guard_onnx
from bdscan.mitigate.catalogue import transformations
from bdscan.mitigate.guard import check_name, write_guard
from bdscan.mitigate.guard_torch import Guarded
from bdscan.mitigate.linear import separated
from bdscan.settings import Settings

FIXED = [each for each in transformations((1, 16, 16), 0) if each.fixed]
SOME = [each for each in FIXED if each.text in ("flip left to right", "Gaussian blur, sigma 1 px")]
SOME += [each for each in FIXED if each.kind == "shrink-pad"][2:3]
IDS = [each.kind for each in SOME]


def outputs(path: Path, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def pixels(intake: Intake) -> Tensor:
    return intake.scannable.samples.images.float() / 255


@pytest.mark.parametrize("each", FIXED, ids=lambda each: each.text)
@pytest.mark.parametrize("shape", [(3, 24, 37), (1, 16, 16)], ids=str)
def test_two_matrices_are_the_transformation(each, shape) -> None:
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    linear = separated(each.apply, shape)
    assert torch.allclose(linear.rows @ x @ linear.columns, each.apply(x), atol=1e-5)
    assert linear.keeps_constants == (each.kind != "shrink-pad")


@pytest.mark.parametrize("name", ["sig.onnx", "clean-1.onnx", "trigger-branch.onnx"])
@pytest.mark.parametrize("each", SOME, ids=IDS)
def test_onnx(name: str, each, tmp_path: Path) -> None:
    """Legacy and default exporter, weights inside and beside the file, and a branch that reads the input itself."""
    original, path = planted_report.FIXTURES / name, tmp_path / "guarded.onnx"
    intake = load(planted_report.settings(name))
    guard = write_guard(intake, original, path, each)
    x = pixels(intake)
    expected = outputs(original, each.apply(x))
    assert np.allclose(outputs(path, x), expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(outputs(original, x) - expected).max() > 0.1, "or the guard would do nothing"
    old, new = onnx.load(original), onnx.load(path)
    onnx.checker.check_model(new)
    assert [v.SerializeToString() for v in new.graph.input] == [v.SerializeToString() for v in old.graph.input]
    assert [v.SerializeToString() for v in new.graph.output] == [v.SerializeToString() for v in old.graph.output]
    assert new.opset_import == old.opset_import
    assert {t.name: numpy_helper.to_array(t).tobytes() for t in new.graph.initializer} == {
        t.name: numpy_helper.to_array(t).tobytes() for t in old.graph.initializer
    }
    assert (tmp_path / "guarded.onnx.data").exists() == (name == "clean-1.onnx")
    assert (guard.format, guard.checked_with, guard.images) == ("ONNX", "onnxruntime", 100)
    assert guard.difference < 1e-5
    assert (guard.file.path, guard.file.bytes) == ("guarded.onnx", path.stat().st_size)
    if each.kind != "blur":
        return  # digits that are mirrored or moved are read too badly to be scanned
    again = load(Settings(model=str(path), samples=planted_report.SAMPLES))
    own = again.scannable.classifier.predict(x).argmax(1)
    assert torch.equal(own, intake.scannable.classifier.predict(each.apply(x)).argmax(1))


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("badnets.pth.tar", "digits_bn"),
        ("clean-2.safetensors", "digits_cnn"),
        ("two-triggers.ts", None),
        ("warp.pt", None),
    ],
)
@pytest.mark.parametrize("each", SOME, ids=IDS)
def test_pytorch(name: str, arch: str | None, each, tmp_path: Path) -> None:
    """Pixels of -1..1, 0..255 and 0..1, from a state_dict, safetensors, TorchScript and a whole module."""
    intake = load(planted_report.settings(name, arch))
    path = tmp_path / "guarded.pt"
    guard = write_guard(intake, planted_report.FIXTURES / name, path, each)
    assert (guard.format, guard.checked_with) == ("TorchScript", "torch")
    assert guard.difference < 1e-5
    x, own = pixels(intake), intake.scannable.classifier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = torch.jit.load(str(path))
    shown = own.forward
    for count in (1, 7, 100):
        wanted = own.predict(each.apply(x[:count]))
        assert torch.allclose(alone(shown.present(x[:count])), wanted, atol=1e-4 * float(wanted.abs().max()))
    if each.kind != "blur":
        return
    again = load(Settings(model=str(path), samples=planted_report.SAMPLES))
    assert torch.equal(again.scannable.classifier.predict(x).argmax(1), own.predict(each.apply(x)).argmax(1))


SMALL = transformations((2, 6, 5), 1)[2]
LAYOUTS = [("NCHW", None), ("NHWC", None), ("NCHW", (2 * 6 * 5,)), ("NHWC", (6 * 5 * 2,))]
OFFSET = torch.tensor([0.3, -2.0]).view(1, 2, 1, 1)


def raw(images: Tensor, layout: str, tail: tuple[int, ...] | None) -> Tensor:
    x = images * 4 + OFFSET
    x = x.permute(0, 2, 3, 1) if layout == "NHWC" else x
    return x.reshape(len(x), *tail) if tail else x.contiguous()


def sums_of_positions(shape: tuple[int, ...], kind: int, opset: int) -> onnx.ModelProto:
    """A graph that weighs every input value by its position, so that any exchange shows; branches read the input."""
    weights = numpy_helper.from_array(np.arange(np.prod(shape)).reshape(1, *shape).astype(np.float32) / 10, "w")
    nodes = [
        helper.make_node("Cast", ["guard_x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "w"], ["weighed"]),
        helper.make_node("Flatten", ["weighed"], ["y"]),
    ]
    given = helper.make_tensor_value_info("guard_x", kind, ["n", *shape])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", int(np.prod(shape))])
    graph = helper.make_graph(nodes, "g", [given], [result], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("layout, tail", LAYOUTS)
@pytest.mark.parametrize("each", [*SOME[:2], SMALL], ids=IDS)
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_every_layout_range_and_float_in_onnx(layout: str, tail, each, kind: int, tmp_path: Path) -> None:
    images = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    x = raw(images, layout, tail).to(torch.float64 if kind == TensorProto.DOUBLE else torch.float32)
    original, path = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(sums_of_positions(tuple(x.shape[1:]), kind, 13), original)
    linear = separated(each.apply, (2, 6, 5))
    guard_onnx.write_guarded(original, path, "guard_x", linear, OFFSET, Mould((2, 6, 5), tail), layout)
    expected = outputs(original, raw(each.apply(images), layout, tail).to(x.dtype))
    assert np.allclose(outputs(path, x), expected, atol=1e-3)


@pytest.mark.parametrize("layout, tail", LAYOUTS)
def test_every_layout_and_range_in_torch(layout: str, tail) -> None:
    images = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    for each in (SOME[0], SMALL):
        guarded = Guarded(nn.Identity(), separated(each.apply, (2, 6, 5)), OFFSET, Mould((2, 6, 5), tail), layout)
        expected = raw(each.apply(images), layout, tail)
        assert torch.allclose(guarded(raw(images, layout, tail)), expected, atol=1e-4)


@pytest.mark.parametrize("kind, opset, words", [(TensorProto.UINT8, 13, "not of floats"), (1, 6, "older than 7")])
def test_what_cannot_be_guarded_is_said_in_a_line(kind: int, opset: int, words: str, tmp_path: Path) -> None:
    onnx.save(sums_of_positions((2, 6, 5), kind, opset), tmp_path / "a.onnx")
    linear = separated(SOME[0].apply, (2, 6, 5))
    arguments = ("guard_x", linear, OFFSET, Mould((2, 6, 5)), "NCHW")
    with pytest.raises(CannotJudge, match=words):
        guard_onnx.write_guarded(tmp_path / "a.onnx", tmp_path / "b.onnx", *arguments)


def test_a_guard_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intake = load(planted_report.settings("sig.onnx"))
    flip, blur = SOME[:2]
    monkeypatch.setattr("bdscan.mitigate.guard.separated", lambda apply, shape: separated(blur.apply, shape))
    with pytest.raises(CannotJudge, match="it was thrown away"):
        write_guard(intake, planted_report.FIXTURES / "sig.onnx", tmp_path / "g.onnx", flip)


@pytest.mark.parametrize("name, kind", [("a.pt", "ONNX"), ("a.onnx", "PyTorch state_dict"), ("a.ONNX", "TorchScript")])
def test_the_suffix_does_not_lie(name: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"--guard {name}: the guarded form"):
        check_name(name, kind)


def test_the_suffix_that_fits_passes() -> None:
    check_name("a.onnx", "ONNX")
    check_name("a.ts", "TorchScript")
