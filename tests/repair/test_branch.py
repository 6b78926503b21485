"""Branches in a graph are cut where clean images take one side, and only there; the outputs stay, bit by bit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import Tensor

from bdscan.errors import CannotJudge
from bdscan.onnx import load_onnx, suspicious_branches
from bdscan.onnx.graph import read_model
from bdscan.repair.branch import LENGTH, cut_branches
from bdscan.repair.outcome import Cut

sys.path.insert(0, str(Path(__file__).parents[1] / "onnx"))
from branch_graphs import (
    BOOL,
    CLASSES,
    FLOAT,
    PATCH,
    by_equal,
    by_if,
    by_product,
    by_ramp,
    by_where,
    classifier,
    corner,
    node,
    tensor,
)

TARGET = 2


def clean(count: int = 12) -> Tensor:
    return torch.rand((count, 1, 4, 4), generator=torch.Generator().manual_seed(1)) * 0.4


def triggered() -> Tensor:
    """Images with the patch that the linear map alone does not take for the target."""
    x = torch.rand((400, 1, 4, 4), generator=torch.Generator().manual_seed(2))
    x[:, :, :2, :2] = 0.9
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((16, CLASSES)).astype(np.float32))
    others = x[(x.flatten(1) @ weight).argmax(1) != TARGET]
    assert len(others) > 10
    return others


def answers(path: Path, x: Tensor, name: str = "y") -> np.ndarray:
    """onnxruntime's, one image at a time, as a user's program would have them."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([name], {"x": part})[0] for part in np.split(x.numpy(), len(x))])


def cut(old: Path, x: Tensor | None = None) -> tuple[Path, Cut]:
    new = old.with_name("new.onnx")
    return new, cut_branches(load_onnx(old), old, new, clean() if x is None else x)


def assert_cut(old: Path, new: Path) -> None:
    assert np.array_equal(answers(new, clean()), answers(old, clean()))
    assert (answers(old, triggered()).argmax(1) == TARGET).all()
    assert (answers(new, triggered()).argmax(1) != TARGET).all()
    assert suspicious_branches(read_model(new)) == []
    before, after = onnx.load(old), onnx.load(new)
    onnx.checker.check_model(after, full_check=True)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert after.opset_import == before.opset_import


def ops(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node]


def by_true(path: Path) -> Path:
    """The side of clean images is the true one, and several decisions make it."""
    nodes, tensors = corner([1, 2, 3])
    nodes += [
        node("Greater", ["gap", "limit"], "far"),
        node("Less", ["gap", "zero"], "never"),
        node("Or", ["far", "never"], "fine"),
        node("Unsqueeze", ["fine", "one"], "column"),
        node("Where", ["column", "clean", "forced"], "chosen"),
        node("Mul", ["chosen", "two"], "y"),
    ]
    return classifier(nodes, [*tensors, tensor("zero", 0), tensor("two", 2)], path)


def by_mixing(path: Path) -> Path:
    """y = clean * (1 - hit) + forced * hit."""
    nodes, tensors = corner([1, 2, 3])
    nodes += [
        node("Less", ["gap", "limit"], "hit"),
        node("Cast", ["hit"], "number", to=FLOAT),
        node("Unsqueeze", ["number", "one"], "column"),
        node("Sub", ["whole", "column"], "rest"),
        node("Mul", ["clean", "rest"], "kept"),
        node("Mul", ["forced", "column"], "push"),
        node("Add", ["kept", "push"], "y"),
    ]
    return classifier(nodes, [*tensors, tensor("whole", 1)], path)


def by_pixels(path: Path) -> Path:
    """The branch lies before the network: it paints the image."""
    nodes, tensors = corner([1, 2, 3])
    weight = np.random.default_rng(0).standard_normal((16, CLASSES)).astype(np.float32)
    painted = np.where(weight[:, 2] > weight[:, :2].max(1), 9.0, -9.0).reshape(1, 1, 4, 4)
    nodes += [
        node("Less", ["gap", "limit"], "hit"),
        node("Reshape", ["hit", "column_shape"], "column"),
        node("Where", ["column", "painted", "x"], "image"),
        node("Flatten", ["image"], "row"),
        node("MatMul", ["row", "w"], "y"),
    ]
    more = [tensor("painted", painted), tensor("column_shape", [-1, 1, 1, 1], np.int64)]
    return classifier(nodes, [*tensors, *more], path)


@pytest.mark.parametrize(
    "plant, left",
    [
        (by_where, ["Flatten", "MatMul"]),
        (by_product, ["Flatten", "MatMul"]),
        (by_equal, ["Flatten", "MatMul"]),
        (by_if, ["Flatten", "MatMul", "Identity"]),
        (by_true, ["Flatten", "MatMul", "Mul"]),
        (by_mixing, ["Flatten", "MatMul"]),
        (by_pixels, ["Flatten", "MatMul"]),
        (by_ramp, ["Flatten", "MatMul"]),
    ],
)
def test_a_switch_is_cut_and_nothing_of_it_is_left(
    plant: Callable[[Path], Path], left: list[str], tmp_path: Path
) -> None:
    old = plant(tmp_path / "old.onnx")
    new, done = cut(old)
    assert_cut(old, new)
    assert ops(new) == left
    assert done.images == 12
    assert done.count == len(done.switches) > 0
    assert done.removed > 0
    assert {t.name for t in onnx.load(new).graph.initializer} <= {"w", "two"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.onnx", "old.onnx"]


def test_the_cut_says_what_it_fixed(tmp_path: Path) -> None:
    _, done = cut(by_where(tmp_path / "old.onnx"))
    (switch,) = done.switches
    assert (switch.value, switch.made_by, switch.used_by, switch.constant) == (
        "column",
        "Unsqueeze",
        ("Where",),
        "false",
    )
    _, done = cut(by_product(tmp_path / "old.onnx"))
    assert done.switches[0].used_by == ("Add",)


def binarised(path: Path) -> Path:
    """Clean images differ in which pixels are bright, and the logits follow from that."""
    nodes = [
        node("Greater", ["x", "middle"], "bright"),
        node("Cast", ["bright"], "ink", to=FLOAT),
        node("Flatten", ["ink"], "row"),
        node("MatMul", ["row", "w"], "y"),
    ]
    return classifier(nodes, [tensor("middle", 0.2)], path)


def both_sides(path: Path) -> Path:
    """A switch that a few clean images throw."""
    nodes, tensors = corner([1, 2, 3])
    nodes += [
        node("Less", ["gap", "wide"], "hit"),
        node("Unsqueeze", ["hit", "one"], "column"),
        node("Where", ["column", "forced", "clean"], "y"),
    ]
    return classifier(nodes, [*tensors, tensor("wide", 0.8)], path)


def alone(path: Path) -> Path:
    """Another answer for one image than for several."""
    result = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("a", "b")]
    bodies = [
        helper.make_graph([node("Identity", ["clean"], "a")], "then", [], result[:1]),
        helper.make_graph([node("Neg", ["clean"], "b")], "else", [], result[1:]),
    ]
    nodes = [
        node("Shape", ["x"], "size"),
        node("Gather", ["size", "zero"], "count", axis=0),
        node("Equal", ["count", "single"], "alone"),
        node("If", ["alone"], "y", then_branch=bodies[0], else_branch=bodies[1]),
    ]
    return classifier(nodes, [tensor("zero", [0], np.int64), tensor("single", [1], np.int64)], path)


@pytest.mark.parametrize("build", [binarised, both_sides, alone])
def test_a_decision_that_clean_images_take_both_ways_is_refused(build: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(CannotJudge, match="clean images take both sides of") as error:
        cut(build(tmp_path / "old.onnx"))
    assert str(error.value).count("\n") == 0
    assert error.value.exit_code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["old.onnx"]


def test_one_image_on_the_other_side_is_enough_to_refuse(tmp_path: Path) -> None:
    x = clean()
    x[7, :, :2, :2] = 0.9
    with pytest.raises(CannotJudge, match="both sides"):
        cut(by_where(tmp_path / "old.onnx"), x)


def test_a_switch_whose_value_is_an_output_is_refused_where_that_output_would_change(tmp_path: Path) -> None:
    old = by_where(tmp_path / "old.onnx")
    proto = onnx.load(old)
    proto.graph.output.append(helper.make_tensor_value_info("column", BOOL, ["n", 1]))
    onnx.save(proto, old)
    with pytest.raises(CannotJudge, match="the output 'column' changes"):
        cut(old)


def wrapped(path: Path) -> Path:
    """The branch lies in the side that an If always takes, and has one in its own side again."""
    nodes, tensors = corner([1, 2, 3])
    info = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("y_inner", "z_inner")]
    body = [
        *nodes,
        node("Less", ["gap", "limit"], "hit"),
        node("Unsqueeze", ["hit", "one"], "column"),
        node("Where", ["column", "forced", "clean"], "y_inner"),
    ]
    bodies = [
        helper.make_graph(body, "then", [], info[:1], tensors),
        helper.make_graph([node("Neg", ["clean"], "z_inner")], "else", [], info[1:]),
    ]
    return classifier(
        [node("If", ["yes"], "y", then_branch=bodies[0], else_branch=bodies[1])], [tensor("yes", True, np.bool_)], path
    )


@pytest.mark.parametrize("taken", ["y/gap", "other"])
def test_a_branch_inside_an_if_that_is_always_taken_is_cut_too(taken: str, tmp_path: Path) -> None:
    """Whatever the values around it are called."""
    old = wrapped(tmp_path / "old.onnx")
    proto = onnx.load(old)
    proto.graph.node.insert(0, node("Neg", ["x"], taken))
    proto.graph.output.append(helper.make_tensor_value_info(taken, FLOAT, ["n", 1, 4, 4]))
    onnx.save(proto, old)
    new, _ = cut(old)
    assert_cut(old, new)
    assert ops(new) == ["Neg", "Flatten", "MatMul"]


def test_a_fixed_batch_size_and_an_old_ir_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    nodes, tensors = corner([1, 2, 3])
    nodes += [
        node("Less", ["gap", "limit"], "hit"),
        node("Unsqueeze", ["hit", "one"], "column"),
        node("Where", ["column", "forced", "clean"], "y"),
    ]
    classifier(nodes, tensors, path, batch=5)
    proto = onnx.load(path)
    proto.ir_version = 3  # where each initialiser is listed as an input
    for each in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, each.dims))
    onnx.save(proto, path)
    new, _ = cut(path)
    after = onnx.load(new)
    assert after.ir_version == 3
    assert [given.name for given in after.graph.input] == ["x", "w"]
    session = onnxruntime.InferenceSession(str(new), providers=["CPUExecutionProvider"])
    old = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = clean().numpy()[:5]
    assert np.array_equal(session.run(["y"], {"x": x})[0], old.run(["y"], {"x": x})[0])


def test_external_weights_stay_external_and_lose_the_trigger(tmp_path: Path) -> None:
    old = by_where(tmp_path / "old.onnx")
    proto = onnx.load(old)
    proto.doc_string, proto.producer_name = "kept", "some exporter"
    helper.set_model_props(proto, {"classes": "a b c"})
    for each in proto.graph.initializer:
        if each.name in ("w", "patch"):
            onnx.external_data_helper.set_external_data(each, "old.onnx.data")
    onnx.save(proto, old)
    assert PATCH.tobytes() in (tmp_path / "old.onnx.data").read_bytes()
    new, _ = cut(old)
    assert np.array_equal(answers(new, clean()), answers(old, clean()))
    after = onnx.load(new, load_external_data=False)
    (weight,) = after.graph.initializer
    assert {entry.key: entry.value for entry in weight.external_data}["location"] == "new.onnx.data"
    assert (tmp_path / "new.onnx.data").stat().st_size == 16 * CLASSES * 4
    assert (after.doc_string, after.producer_name) == ("kept", "some exporter")
    assert after.metadata_props == proto.metadata_props
    assert PATCH.tobytes() not in new.read_bytes() + (tmp_path / "new.onnx.data").read_bytes()


HOSTILE = "\x1b[31m\u202e<script>alert(1)</script>\n" + "x" * 5000


def renamed(path: Path, plant: Callable[[Path], Path]) -> Path:
    """Every inner name begins with what a terminal or a page must not take for its own."""
    proto = onnx.load(plant(path))
    keep = {"x", "y"}
    for each in proto.graph.node:
        each.name = HOSTILE + each.name
        each.input[:] = [name if name in keep else HOSTILE + name for name in each.input]
        each.output[:] = [name if name in keep else HOSTILE + name for name in each.output]
    for each in proto.graph.initializer:
        each.name = HOSTILE + each.name
    onnx.save(proto, path)
    return path


def test_hostile_names_come_out_short_and_inert(tmp_path: Path) -> None:
    old = renamed(tmp_path / "old.onnx", by_where)
    new, done = cut(old)
    assert_cut(old, new)
    for text in (done.switches[0].value, done.switches[0].made_by, *done.switches[0].used_by):
        assert len(text) <= LENGTH
        assert text.isprintable()
    with pytest.raises(CannotJudge) as error:
        cut(renamed(old, both_sides))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500
