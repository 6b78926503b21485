"""Surgery on a graph as the file holds it: values made constant, what became pointless taken out.

Everything works on the message in place and on its top level; names, outputs and metadata stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


def freeze(graph: onnx.GraphProto, values: Mapping[str, Array]) -> None:
    """Constant nodes in place of whatever makes `values`. Nodes, since old files list initialisers as inputs."""
    for node in graph.node:
        node.output[:] = ["" if name in values else name for name in node.output]
    _keep(graph.initializer, lambda tensor: tensor.name not in values)
    _keep(graph.input, lambda given: given.name not in values)
    _keep(graph.node, lambda node: any(node.output))
    made = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.ascontiguousarray(value), ""))
        for name, value in values.items()
    ]
    _replace(graph.node, [*made, *graph.node])


def settle(graph: onnx.GraphProto, values: Mapping[str, Array]) -> None:
    """Take out the nodes that the constants `values` made pointless: a Where or If that is decided, `+ 0`, `* 1`.

    What is left may broadcast differently where the constant had the larger shape: the caller compares outputs.
    """
    while (node := next((n for n in graph.node if _pointless(n, values)), None)) is not None:
        kept = _passed_on(node, values)
        if kept is None:
            _inline(graph, node, bool(_truth(values[node.input[0]])))
        else:
            _rewire(graph, node, kept)


def _pointless(node: onnx.NodeProto, values: Mapping[str, Array]) -> bool:
    decided = node.op_type == "If" and _truth(values.get(node.input[0])) is not None
    return decided or _passed_on(node, values) is not None


def _passed_on(node: onnx.NodeProto, values: Mapping[str, Array]) -> str | None:
    """The input that a node hands on as it is."""
    inputs: list[str] = list(node.input)
    if node.op_type == "Where" and (truth := _truth(values.get(inputs[0]))) is not None:
        return inputs[1 if truth else 2]
    neutral = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}.get(node.op_type)
    if neutral is None:
        return None
    second = values.get(inputs[1])
    if second is not None and bool((second == neutral).all()):
        return inputs[0]
    first = values.get(inputs[0]) if node.op_type in ("Add", "Mul") else None
    return inputs[1] if first is not None and bool((first == neutral).all()) else None


def _truth(value: Array | None) -> bool | None:
    """What a condition says, None where it is unknown or says both."""
    if value is None or value.dtype != np.bool_ or not value.size or value.min() != value.max():
        return None
    return bool(value.flat[0])


def _rewire(graph: onnx.GraphProto, node: onnx.NodeProto, kept: str) -> None:
    """Drop a node whose only output equals the value `kept`."""
    name, outputs = node.output[0], {output.name for output in graph.output}
    maker = next((n for n in graph.node if kept in n.output), None)
    if name not in outputs:
        graph.node.remove(node)
        _rename(graph.node, {name: kept})
    elif maker is not None and kept not in outputs:
        graph.node.remove(node)
        _rename(graph.node, {kept: name})
        maker.output[:] = [name if output == kept else output for output in maker.output]
    else:
        node.CopyFrom(helper.make_node("Identity", [kept], [name], name=node.name))


def _inline(graph: onnx.GraphProto, node: onnx.NodeProto, truth: bool) -> None:
    """Put one branch of an If in its place, under names that cannot clash."""
    body = next(a.g for a in node.attribute if a.name == ("then_branch" if truth else "else_branch"))
    taken = set(_names(graph))
    own = {t.name for t in body.initializer} | {o for n in body.node for o in n.output if o}
    prefix = f"{node.output[0]}/"
    while any(prefix + name in taken for name in own):
        prefix += "_"
    rename = {name: prefix + name for name in own}
    inside = onnx.GraphProto()
    inside.CopyFrom(body)
    _rename(inside.node, rename)
    for inner in inside.node:
        inner.output[:] = [rename.get(name, name) for name in inner.output]
    for tensor in inside.initializer:
        tensor.name = rename[tensor.name]
    ends = [
        helper.make_node("Identity", [rename.get(inner.name, inner.name)], [name])
        for inner, name in zip(body.output, node.output, strict=True)
        if name
    ]
    place = list(graph.node).index(node)
    before, after = list(graph.node[:place]), list(graph.node[place + 1 :])
    _replace(graph.node, [*before, *inside.node, *ends, *after])
    graph.initializer.extend(inside.initializer)
    for end in [n for n in graph.node if n.op_type == "Identity" and any(n.output[0] == e.output[0] for e in ends)]:
        _rewire(graph, end, end.input[0])


def prune(graph: onnx.GraphProto) -> int:
    """Drop the nodes and initialisers that no output needs, and what is said of them; how many nodes."""
    makers = {name: node for node in graph.node for name in node.output if name}
    needed: set[str] = set()
    pending = [output.name for output in graph.output]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += _reads(makers[name]) if name in makers else ()
    count = len(graph.node)
    unused = {tensor.name for tensor in graph.initializer} - needed
    _keep(graph.node, lambda node: not needed.isdisjoint(filter(None, node.output)))
    _keep(graph.initializer, lambda tensor: tensor.name not in unused)
    _keep(graph.input, lambda given: given.name not in unused)
    _keep(graph.value_info, lambda value: value.name in needed)
    _keep(graph.quantization_annotation, lambda value: value.tensor_name in needed)
    return count - len(graph.node)


def size(graph: onnx.GraphProto) -> int:
    """Nodes, with those of subgraphs."""
    return len(graph.node) + sum(size(body) for node in graph.node for body in _bodies(node))


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names it needs, with all that its subgraphs name: more than they capture, which keeps too much at worst."""
    names = {name for name in node.input if name}
    for body in _bodies(node):
        names.update(output.name for output in body.output)
        for inner in body.node:
            names |= _reads(inner)
    return names


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield from (*node.input, *node.output)
        for body in _bodies(node):
            yield from _names(body)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _rename(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Read other values, in subgraphs too."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        for body in _bodies(node):
            _rename(body.node, names)
            for output in body.output:
                output.name = names.get(output.name, output.name)


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    for i in reversed(range(len(field))):
        if not wanted(field[i]):
            del field[i]


def _replace(field: Any, values: Sequence[Any]) -> None:
    copies = []
    for value in values:
        copy = type(value)()
        copy.CopyFrom(value)
        copies.append(copy)
    del field[:]
    field.extend(copies)
