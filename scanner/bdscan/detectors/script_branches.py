"""Decisions of a TorchScript program that trained image classifiers do not take, as `onnx.branches` finds them in ONNX.

Values are followed, not shapes. An element-wise comparison is what activations are made of; one whose outcomes are
gathered over several pixels, or that steers the program, is a decision about the image. What is written as plain
arithmetic, or compares a single pixel and masks with it, is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch

SHAPES: Final = frozenset(
    f"aten::{name}"
    for name in ("size", "sym_size", "dim", "len", "numel", "shape", "stride", "is_floating_point", "is_complex",
                 "is_contiguous", "requires_grad", "__is__", "__isnot__")
) | {f"prim::{name}" for name in ("dtype", "device", "layout", "is_nested", "is_cuda", "is_cpu", "is_mkldnn",
                                  "is_quantized", "is_sparse", "is_mps", "requires_grad", "isinstance")}  # fmt: skip
COMPARISONS: Final = frozenset(
    f"aten::{name}"
    for name in ("gt", "lt", "ge", "le", "eq", "ne", "greater", "less", "greater_equal", "less_equal", "not_equal",
                 "isnan", "isinf", "isfinite", "isclose")
)  # fmt: skip
GATHERED: Final = frozenset(
    f"aten::{name}"
    for name in ("all", "any", "sum", "prod", "mean", "min", "max", "amin", "amax", "count_nonzero", "cumsum",
                 "cumprod", "einsum", "matmul", "mm", "bmm", "dot", "linear", "conv2d", "_convolution", "Bool", "Float",
                 "Int", "item", "is_nonzero", "ScalarImplicit", "FloatImplicit", "IntImplicit")
)  # fmt: skip
CHOICES: Final = frozenset(
    f"aten::{name}" for name in ("argmax", "argmin", "topk", "nonzero", "equal", "allclose", "bincount", "one_hot")
)
MASKS: Final = frozenset(
    f"aten::{name}"
    for name in ("logical_and", "logical_or", "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not",
                 "__and__", "__or__", "to", "type_as", "float", "bool", "select", "slice", "index", "view", "reshape",
                 "flatten", "unsqueeze", "squeeze", "expand", "permute", "mul", "stack", "cat", "narrow")
) | {"prim::ListConstruct", "prim::TupleConstruct"}  # fmt: skip
Key = tuple[Any, ...]
NOTHING, IMAGE, MASK = 0, 1, 2  # what a value depends on: not the image; its values; the outcome of a comparison


def decisions(module: torch.jit.ScriptModule) -> list[str]:
    """The kinds of the operators that decide something about the image and can reach the result.

    RuntimeError where the program cannot be made one graph.
    """
    graph = torch.jit.freeze(module).graph if not module.training else torch.jit.freeze(module.eval()).graph
    torch._C._jit_pass_inline(graph)
    image = list(graph.inputs())[1:]  # the first is the module itself
    level = {value.debugName(): IMAGE for value in image}
    useful = _reaching(graph)
    return [node.kind() for node in _follow(graph, level) if id_of(node) in useful]


def _follow(block: Any, level: dict[str, int]) -> Iterator[Any]:
    """The deciding nodes of a graph or block, whether or not they reach the result; `level` grows value by value."""
    for node in block.nodes():
        kind = node.kind()
        worst = max((level.get(value.debugName(), NOTHING) for value in node.inputs()), default=NOTHING)
        now = NOTHING if kind in SHAPES else worst
        if now and kind in COMPARISONS:
            now = MASK
        elif now == MASK and kind in GATHERED:
            yield node
            now = IMAGE
        elif now == MASK and kind not in MASKS:
            now = IMAGE
        elif now and kind in CHOICES:
            yield node
        condition = next(iter(node.inputs()), None) if kind == "prim::If" else None
        if condition is not None and level.get(condition.debugName(), NOTHING):
            yield node
        inside: list[list[int]] = []
        for inner in node.blocks():
            level |= {value.debugName(): worst for value in inner.inputs()}  # what a loop carries
            yield from _follow(inner, level)
            inside.append([level.get(value.debugName(), NOTHING) for value in inner.outputs()])
        results = list(node.outputs())
        for i, value in enumerate(results):  # a loop's block begins with whether it goes on
            own = [levels[i - len(results)] for levels in inside]
            level[value.debugName()] = max([NOTHING if kind == "prim::If" else now, *own])


def _reaching(graph: Any) -> set[Key]:
    """The nodes from which the result can be reached, or a change in place, which may reach it under another name."""
    waiting = [value.node() for value in graph.outputs()]
    waiting += [node for node in _all(graph) if node.kind().endswith("_") and not node.kind().endswith("__")]
    holders = {id_of(inner): node for node in _all(graph) for block in node.blocks() for inner in block.nodes()}
    seen: set[Key] = set()
    while waiting:
        node = waiting.pop()
        if id_of(node) in seen:
            continue
        seen.add(id_of(node))
        waiting += [value.node() for value in node.inputs()]
        waiting += [value.node() for block in node.blocks() for value in block.outputs()]
        if id_of(node) in holders:  # whether it runs at all is for the branch around it to say
            waiting.append(holders[id_of(node)])
    return seen


def _all(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _all(inner)


def id_of(node: Any) -> Key:
    """The same for each look at a node: torch makes a new Python object every time. Values have unique names."""
    names = tuple(tuple(value.debugName() for value in values) for values in (node.inputs(), node.outputs()))
    return node.kind(), *names
