"""ONNX graphs beyond those of tests/onnx/test_hostile.py: costly ones, and ones that say two things."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from toys import templates

FLOAT = TensorProto.FLOAT
X = helper.make_tensor_value_info("x", FLOAT, ["n", 1, 8, 8])
Y = helper.make_tensor_value_info("y", FLOAT, ["n", 4])
W = numpy_helper.from_array(templates().T.contiguous().numpy(), "w")
PLAIN = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["m"])]
END = [*PLAIN, helper.make_node("Identity", ["m"], ["y"])]
node = helper.make_node


def shape(*values: int, name: str = "s") -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def number(value: float, name: str) -> TensorProto:
    return numpy_helper.from_array(np.float32(value), name)


def model(
    nodes: list, tensors: list | None = None, outputs: list | None = None, opset: int = 18, **more: object
) -> bytes:
    graph = helper.make_graph(nodes, "g", [X], outputs or [Y], [W, *(tensors or [])])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, **more).SerializeToString()


def added(*nodes: onnx.NodeProto, tensors: list | None = None) -> bytes:
    """The toy classifier, its output plus whatever `nodes` make of it under the name `extra`."""
    return model([*PLAIN, *nodes, node("Add", ["m", "extra"], ["y"])], tensors)


def weight(**fields: object) -> bytes:
    """The toy classifier with a weight of one's own making."""
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[64, 4])
    for name, value in fields.items():
        if name == "external":
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in value.items():
                tensor.external_data.add(key=key, value=text)
        elif isinstance(value, list):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    graph = helper.make_graph(END, "g", [X], [Y], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def elsewhere(location: str) -> bytes:
    return weight(external={"location": location, "offset": "0", "length": "1024"})


def body(op: str, inputs: list[str]) -> onnx.GraphProto:
    return helper.make_graph([node(op, inputs, ["o"])], "b", [], [onnx.ValueInfoProto(name="o")])


def nested_if(depth: int) -> bytes:
    inner = node("Identity", ["m"], ["o"])
    for _ in range(depth):
        branch = helper.make_graph([inner], "b", [], [onnx.ValueInfoProto(name="o")])
        inner = node("If", ["c"], ["o"], then_branch=branch, else_branch=body("Identity", ["m"]))
    top = node("ReduceMax", ["m"], ["t"], keepdims=0)
    return model(
        [*PLAIN, top, node("Greater", ["t", "z"], ["c"]), inner, node("Identity", ["o"], ["y"])], [number(0, "z")]
    )


def loop(op: str) -> bytes:
    inside = helper.make_graph(
        [node("Identity", ["c"], ["d"])],
        "b",
        [onnx.ValueInfoProto(name="i"), onnx.ValueInfoProto(name="c")],
        [onnx.ValueInfoProto(name="d")],
    )
    return model([*PLAIN, node(op, ["m", "m"], ["y"], body=inside)])


def chain(length: int) -> bytes:
    """Doubling by Concat: 2^length times as long at the end."""
    nodes = [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(length)]
    return model(
        [*PLAIN, *nodes, node("ReduceSum", [f"v{length}"], ["extra"]), node("Add", ["m", "extra"], ["y"])],
        [numpy_helper.from_array(np.ones(4, np.int64), "v0")],
    )


def many_outputs() -> bytes:
    outputs = [helper.make_tensor_value_info(f"y{i}", FLOAT, ["n", 4]) for i in range(20_000)]
    return model([*PLAIN, *(node("Identity", ["m"], [f"y{i}"]) for i in range(20_000))], outputs=outputs)


def declared_input(*sizes: int) -> bytes:
    proto = onnx.ModelProto()
    proto.ParseFromString(model(END))
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = size
    return proto.SerializeToString()


def unmatched(op: str) -> bytes:
    return model([*PLAIN, node(op, ["m"], ["y"], domain="custom")])


def bad_strings() -> bytes:
    return model([*PLAIN, node("Identity", ["m"], ["y"], name="NAME")]).replace(b"NAME", b"\xff\xfe\xfd\xfc")


def two_opsets() -> bytes:
    proto = onnx.ModelProto()
    proto.ParseFromString(model(END))
    proto.opset_import.add(domain="", version=7)
    return proto.SerializeToString()


GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a path to the parent": (lambda: elsewhere("../secret.bin"), "outside its folder"),
    "an absolute path": (lambda: elsewhere("/etc/passwd"), "outside its folder"),
    "a path to a device": (lambda: elsewhere("/dev/zero"), "outside its folder"),
    "a symbolic link": (lambda: elsewhere("link.bin"), "symbolic link|outside"),
    "a hard link": (lambda: elsewhere("hard.bin"), "hard link"),
    "a pipe": (lambda: elsewhere("pipe.bin"), "missing|plain file"),
    "a loop of links": (lambda: elsewhere("loop.bin"), "no usable path|missing"),
    "a name of five thousand letters": (lambda: elsewhere("a" * 5000), "no usable path"),
    "a null byte in a path": (lambda: elsewhere("a\0b"), "no usable path"),
    "a folder": (lambda: elsewhere("."), "missing"),
    "raw and typed data": (lambda: weight(raw_data=b"\0" * 1024, float_data=[1.0] * 256), "several places"),
    "raw and external data": (
        lambda: weight(raw_data=b"\0" * 1024, external={"location": "data.bin"}),
        "several places",
    ),
    "data of two types": (lambda: weight(float_data=[1.0] * 256, int32_data=[1] * 256), "several places"),
    "dims that overflow": (lambda: weight(raw_data=b"\0" * 1024, dims=[2**62, 4]), "larger than"),
    "NaN": (lambda: weight(raw_data=np.full((64, 4), np.nan, np.float32).tobytes()), "NaN or infinite"),
    "an outer product of terabytes": (
        lambda: added(
            node("Shape", ["x"], ["k"]),
            node("ConstantOfShape", ["s"], ["a"]),
            node("ConstantOfShape", ["t"], ["b"]),
            node("MatMul", ["a", "b"], ["c"]),
            node("ReduceSum", ["c"], ["extra"]),
            tensors=[shape(2**22, 1), shape(1, 2**22, name="t")],
        ),
        "cannot be evaluated|the limit is",
    ),
    "a quadratic Einsum": (
        lambda: added(
            node("Einsum", ["w", "w", "w", "w"], ["e"], equation="ab,cd,ef,gh->"), node("ReduceSum", ["e"], ["extra"])
        ),
        "the limit is",
    ),
    "an Einsum whose result is terabytes": (
        lambda: added(
            node("Einsum", ["w", "v"], ["e"], equation="ab,cd->abcd"),
            node("ReduceSum", ["e"], ["extra"]),
            tensors=[numpy_helper.from_array(np.ones((2048, 2048), np.float32), "v")],
        ),
        "the limit is",
    ),
    "an Einsum of ten thousand letters": (
        lambda: added(node("Einsum", ["w"], ["e"], equation="a" * 10_000), node("ReduceSum", ["e"], ["extra"])),
        "Einsum",
    ),
    "a broadcast of terabytes": (
        lambda: added(
            node("Expand", ["m", "s"], ["a"]),
            node("Transpose", ["a"], ["b"]),
            node("Add", ["a", "b"], ["c"]),
            node("ReduceSum", ["c"], ["extra"]),
            tensors=[shape(2**20, 1, 1, 1)],
        ),
        "",
    ),
    "doubling forty times": (lambda: chain(40), "the limit is|cannot be evaluated"),
    "a Resize of terabytes": (
        lambda: model(
            [node("Resize", ["x", "", "r"], ["b"]), node("GlobalMaxPool", ["b"], ["g"]), node("Flatten", ["g"], ["y"])],
            [numpy_helper.from_array(np.array([1, 1, 1e6, 1e6], np.float32), "r")],
        ),
        "the limit is",
    ),
    "a Pad of terabytes": (
        lambda: model(
            [node("Pad", ["x", "s"], ["b"]), node("GlobalMaxPool", ["b"], ["g"]), node("Flatten", ["g"], ["y"])],
            [shape(0, 0, 2**30, 2**30, 0, 0, 0, 0)],
        ),
        "the limit is",
    ),
    "a Range of terabytes": (
        lambda: added(
            node("Range", ["a", "b", "c"], ["r"]),
            node("ReduceSum", ["r"], ["extra"]),
            tensors=[number(0, "a"), number(1e12, "b"), number(1, "c")],
        ),
        "the limit is",
    ),
    "a OneHot of terabytes": (
        lambda: added(
            node("OneHot", ["s", "d", "v"], ["o"]),
            node("ReduceSum", ["o"], ["extra"]),
            tensors=[shape(1, 2), shape(2**40, name="d"), numpy_helper.from_array(np.array([0, 1], np.float32), "v")],
        ),
        "the limit is",
    ),
    "an input of terabytes": (lambda: declared_input(1, 2**62, 8, 8), "the limit is"),
    "thousands of outputs": (many_outputs, "20000 outputs"),
    "a custom domain": (lambda: unmatched("Run"), "unsupported ONNX operators: custom.Run"),
    "a Loop": (lambda: loop("Loop"), "unsupported.*Loop"),
    "a Scan": (lambda: loop("Scan"), "unsupported.*Scan"),
    "twenty-five nested branches": (lambda: nested_if(25), ""),
    "ten nested branches": (lambda: nested_if(10), ""),
    "an opset of the future": (lambda: model(END, opset=9999), ""),
    "an opset of zero": (lambda: model(END, opset=0), ""),
    "a negative opset": (lambda: model(END, opset=-1), ""),
    "names that are no text": (bad_strings, "UTF-8|damaged"),
    "outputs that nobody makes": (
        lambda: model(END, outputs=[helper.make_tensor_value_info(f"z{i}", FLOAT, ["n", 4]) for i in range(500)]),
        "graph output",
    ),
    "a weight for the input": (
        lambda: model(END, [numpy_helper.from_array(np.ones((2, 1, 8, 8), np.float32), "x")]),
        "",
    ),
    "a division by zero": (
        lambda: added(node("Div", ["m", "z"], ["extra"]), tensors=[number(0, "z")]),
        "NaN or infinite",
    ),
    "a random output": (lambda: added(node("RandomNormalLike", ["m"], ["extra"])), "unsupported"),
}

# These may load, because a reader who is strict about them would refuse networks people have; they must end quickly.
MAY_LOAD = (
    "twenty-five nested branches",
    "ten nested branches",
    "an opset of the future",
    "an opset of zero",
    "a negative opset",
)


def write(name: str, folder: Path) -> Path:
    """The model in `folder/model`, with every kind of link beside it."""
    (folder / "model").mkdir()
    (folder / "secret.bin").write_bytes(b"\1" * 1024)
    here = folder / "model"
    (here / "data.bin").write_bytes(b"\1" * 1024)
    (here / "link.bin").symlink_to(folder / "secret.bin")
    (here / "loop.bin").symlink_to(here / "loop.bin")
    os.link(folder / "secret.bin", here / "hard.bin")
    os.mkfifo(here / "pipe.bin")
    (here / "m.onnx").write_bytes(GRAPHS[name][0]())
    return here / "m.onnx"
