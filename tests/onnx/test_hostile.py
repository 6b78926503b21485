"""Files that lie: each ends in one line of OnnxError, quickly and without a large allocation."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bdscan.onnx import OnnxError, UnsupportedOperators, load_onnx

FLOAT = TensorProto.FLOAT
X = helper.make_tensor_value_info("x", FLOAT, ["n", 4])
Y = helper.make_tensor_value_info("y", FLOAT, ["n", 3])
WEIGHT = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"])


def model(
    nodes: list[onnx.NodeProto], tensors: list[TensorProto] | None = None, inputs: object = None, **options: object
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [X] if inputs is None else inputs, [Y], [WEIGHT] if tensors is None else tensors
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)


def external(location: str, offset: str = "0", length: str = "48") -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return model([MATMUL], [tensor])


def lying_dims() -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[2**40, 3], raw_data=b"\0" * 48)
    return model([MATMUL], [tensor])


def short_list() -> onnx.ModelProto:
    return model([MATMUL], [TensorProto(name="w", data_type=FLOAT, dims=[4, 3], float_data=[1.0])])


def negative_dims() -> onnx.ModelProto:
    return model([MATMUL], [TensorProto(name="w", data_type=FLOAT, dims=[-4, -3], raw_data=b"\0" * 48)])


def huge(op: str) -> onnx.ModelProto:
    shape = numpy_helper.from_array(np.array([2**40, 3]), "s")
    source = {"ConstantOfShape": ["s"], "Expand": ["w1", "s"], "Tile": ["w1", "s"]}[op]
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "w1")
    nodes = [helper.make_node(op, source, ["w"]), helper.make_node("Add", ["x", "w"], ["y"])]
    return model(nodes, [shape, one])


def recursive_function() -> onnx.ModelProto:
    """Ten functions, each of which calls the next a hundred times."""
    names = [f"F{i}" for i in range(11)]
    functions = []
    for name, inner in itertools.pairwise(names):
        body = [helper.make_node(inner, [f"v{i}"], [f"v{i + 1}"], domain="custom") for i in range(100)]
        functions.append(
            helper.make_function("custom", name, ["v0"], ["v100"], body, [helper.make_opsetid("custom", 1)])
        )
    last = [helper.make_node("Relu", ["v"], ["w"])]
    functions.append(helper.make_function("custom", names[-1], ["v"], ["w"], last, [helper.make_opsetid("", 17)]))
    return model([helper.make_node("F0", ["x"], ["y"], domain="custom")], [], functions=functions)


def self_calling_function() -> onnx.ModelProto:
    body = [helper.make_node("F", ["v"], ["w"], domain="custom")]
    function = helper.make_function("custom", "F", ["v"], ["w"], body, [helper.make_opsetid("custom", 1)])
    return model([helper.make_node("F", ["x"], ["y"], domain="custom")], [], functions=[function])


def deep_branches(depth: int = 6) -> onnx.ModelProto:
    """If in If in If, without conditions."""
    node = helper.make_node("Identity", ["x"], ["y"])
    for _ in range(depth):
        branch = helper.make_graph([node], "b", [], [Y])
        node = helper.make_node("If", ["missing"], ["y"], then_branch=branch, else_branch=branch)
    return model([node])


CASES: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "dims beyond the data": (lying_dims, "larger than|declares"),
    "fewer values than dims": (short_list, "declares 12 values and holds 1"),
    "negative dims": (negative_dims, "impossible dims"),
    "parent folder": (lambda: external("../secret.bin"), "not inside"),
    "parent folder inside": (lambda: external("sub/../../secret.bin"), "not inside"),
    "absolute path": (lambda: external("/etc/passwd"), "not inside"),
    "symbolic link": (lambda: external("link.bin"), "symbolic link"),
    "linked folder": (lambda: external("linked/secret.bin"), "symbolic link"),
    "pipe": (lambda: external("pipe.bin"), "not a plain file"),
    "missing sidecar": (lambda: external("none.bin"), "cannot be read"),
    "beyond the sidecar": (lambda: external("data.bin", offset="4096"), "are asked for"),
    "negative offset": (lambda: external("data.bin", offset="-8"), "at offset"),
    "offset in words": (lambda: external("data.bin", offset="many"), "unreadable place"),
    "length beside dims": (lambda: external("data.bin", length="4"), "declares 48 bytes and takes 4"),
    "no location": (lambda: external(""), "not inside"),
    "terabytes by ConstantOfShape": (lambda: huge("ConstantOfShape"), "the limit is"),
    "terabytes by Expand": (lambda: huge("Expand"), "the limit is"),
    "terabytes by Tile": (lambda: huge("Tile"), "the limit is"),
    "no inputs": (lambda: model([helper.make_node("Identity", ["w"], ["y"])], inputs=[]), "0 inputs"),
    "cycle": (
        lambda: model([helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]),
        "cycle",
    ),
    "own output": (lambda: model([helper.make_node("Add", ["x", "y"], ["y"])]), "cycle"),
    "missing initialiser": (lambda: model([MATMUL], []), "'w', which nothing provides"),
    "produced twice": (lambda: model([MATMUL, MATMUL]), "produced twice"),
    "nothing makes the output": (lambda: model([helper.make_node("Relu", ["x"], ["z"])]), "graph output 'y'"),
    "functions that explode": (recursive_function, "grow beyond"),
    "function that calls itself": (self_calling_function, "calls itself"),
    "branches without condition": (deep_branches, "nothing provides"),
    "string weights": (
        lambda: model([MATMUL], [TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])]),
        "STRING",
    ),
    "shapes that do not fit": (
        lambda: model([MATMUL], [numpy_helper.from_array(np.ones((5, 3), np.float32), "w")]),
        "MatMul node 'y' cannot be evaluated",
    ),
    "too few inputs": (lambda: model([helper.make_node("MatMul", ["x"], ["y"])]), "cannot be evaluated"),
    "branch missing": (lambda: model([helper.make_node("If", ["x"], ["y"])]), "lacks its condition or a branch"),
}


@pytest.mark.parametrize("name", CASES)
def test_hostile_model(name: str, tmp_path: Path) -> None:
    build, message = CASES[name]
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\1" * 48)
    (folder / "data.bin").write_bytes(b"\1" * 48)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.bin")
    path = folder / "m.onnx"
    path.write_bytes(build().SerializeToString())
    with pytest.raises(OnnxError, match=message) as caught:
        load_onnx(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 400


def test_sidecar_inside_the_folder_is_read(tmp_path: Path) -> None:
    """The counterpart of the refusals above: the same file with an honest place loads."""
    (tmp_path / "data.bin").write_bytes(np.arange(12, dtype=np.float32).tobytes())
    (tmp_path / "m.onnx").write_bytes(external("data.bin").SerializeToString())
    loaded = load_onnx(tmp_path / "m.onnx")
    assert loaded.sidecars == ("data.bin",)
    assert dict(loaded.named_initialisers())["w"].flatten().tolist() == list(range(12))


@pytest.mark.parametrize(
    "content",
    [b"", b"This is a text.\n" * 20, b"\x08", bytes(range(256)) * 8, b"PK\x03\x04" + b"\0" * 100],
    ids=["empty", "text", "one byte", "bytes", "zip"],
)
def test_not_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(OnnxError, match=r"m\.onnx"):
        load_onnx(path)


def test_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    generator = np.random.default_rng(0)
    for _ in range(200):
        path.write_bytes(generator.bytes(int(generator.integers(1, 400))))
        with pytest.raises(OnnxError):
            load_onnx(path)


def test_truncated_at_every_place(tmp_path: Path) -> None:
    whole = model([MATMUL]).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(whole)
    load_onnx(path)
    for end in range(len(whole) - 1):
        path.write_bytes(whole[:end])
        try:
            load_onnx(path)
        except OnnxError as error:
            assert "\n" not in str(error)  # noqa: PT017 (some cuts leave a complete, smaller message)


def test_too_many_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes count through all branches: doubling at each level is how a file would hide them."""
    monkeypatch.setattr("bdscan.onnx.graph.MAX_NODES", 100)
    path = tmp_path / "m.onnx"
    path.write_bytes(deep_branches().SerializeToString())
    with pytest.raises(OnnxError, match="more than 100 nodes"):
        load_onnx(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match="cannot be read"):
        load_onnx(tmp_path / "none.onnx")


def test_unsupported_operators_are_all_named(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Loop", ["x"], ["i"])], "b", [], [Y])
    nodes = [
        helper.make_node("Magic", ["x"], ["a"], domain="com.evil"),
        helper.make_node("LSTM", ["a"], ["b"]),
        helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner),
    ]
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes).SerializeToString())
    with pytest.raises(UnsupportedOperators) as caught:
        load_onnx(path)
    assert caught.value.names == ("LSTM", "Loop", "com.evil.Magic")
