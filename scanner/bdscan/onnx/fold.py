"""What never changes is computed once at load: shape arithmetic, constants, the branch of a decided `If`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.graph import Graph, Node
from bdscan.onnx.ops import OPERATORS


def apply(node: Node, values: list[Tensor | None], opset: int) -> tuple[Tensor | None, ...]:
    """Run one node; every failure is an OnnxError that names it (but for lack of GPU memory, which callers handle)."""
    try:
        result = OPERATORS[node.op].handler(*values, attrs=node.attrs, opset=opset)
    except OnnxError as error:
        raise OnnxError(f"{node.label}: {error}") from None
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError,
            ZeroDivisionError, NotImplementedError, AssertionError) as error:  # fmt: skip
        raise OnnxError(f"{node.label} cannot be evaluated: {type(error).__name__}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def fold(graph: Graph) -> Graph:
    """The same function without the nodes whose inputs are all known and without the dead ones.

    Trainable initialisers count as unknown: what is computed from them must follow a repair.  `Shape` of a value
    whose shape is static is known too.
    """
    tensors = dict(graph.tensors)
    frozen = {n: t for n, t in tensors.items() if n not in graph.trainable}
    kept: list[Node] = []
    pending = list(reversed(graph.nodes))
    while pending:
        node = pending.pop()
        if node.op == "If" and (condition := frozen.get(node.inputs[0])) is not None:
            branch = node.attrs["then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"]
            inlined, extra = _inline(node, branch)
            frozen |= extra
            tensors |= extra
            pending.extend(reversed(inlined))
            continue
        known = _static_shape(node, graph) or _evaluate(node, frozen, graph.opset)
        if known is None:
            kept.append(node)
            continue
        done = {name: value for name, value in zip(node.outputs, known, strict=False) if name and value is not None}
        frozen |= done
        tensors |= done
    return prune(replace(graph, nodes=tuple(kept), tensors=tensors))


def prune(graph: Graph) -> Graph:
    """Drop the nodes and constants that no output needs."""
    needed = {o.name for o in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed |= node.reads
            kept.append(node)
    tensors = {n: t for n, t in graph.tensors.items() if n in needed}
    return replace(graph, nodes=tuple(reversed(kept)), tensors=tensors, trainable=graph.trainable & tensors.keys())


def _static_shape(node: Node, graph: Graph) -> tuple[Tensor, ...] | None:
    if node.op not in ("Shape", "Size"):
        return None
    shape = graph.shapes.get(node.inputs[0])
    if shape is None:
        given = graph.tensors.get(node.inputs[0])
        shape = None if given is None else tuple(given.shape)
    sizes = list(shape or ())[node.attrs.get("start", 0) : node.attrs.get("end")]
    if shape is None or None in sizes or (node.op == "Size" and None in shape):
        return None
    value = torch.tensor(sizes, dtype=torch.int64)
    return (value.prod() if node.op == "Size" else value,)


def _evaluate(node: Node, frozen: dict[str, Tensor], opset: int) -> tuple[Tensor | None, ...] | None:
    if node.op == "If" or not all(name in frozen for name in node.inputs if name):
        return None
    with torch.no_grad():
        values = apply(node, [frozen[name] if name else None for name in node.inputs], opset)
    return tuple(None if v is None else v.clone(memory_format=torch.contiguous_format) for v in values)


def _inline(node: Node, branch: Graph) -> tuple[list[Node], dict[str, Tensor]]:
    """The branch's nodes under names that cannot clash, ending in the If's own outputs."""
    own = set(branch.tensors) | {o for n in branch.nodes for o in n.outputs if o}
    rename = {name: f"{node.outputs[0]}/{name}" for name in own}
    nodes = [_renamed(n, rename) for n in branch.nodes]
    ends = [
        Node("Identity", node.name, (rename.get(inner.name, inner.name),), (name,), {"outputs": 1})
        for inner, name in zip(branch.outputs, node.outputs, strict=True)
    ]
    return nodes + ends, {rename[name]: tensor for name, tensor in branch.tensors.items()}


def _renamed(node: Node, rename: dict[str, str]) -> Node:
    attrs = {k: _renamed_graph(v, rename) if isinstance(v, Graph) else v for k, v in node.attrs.items()}
    inputs, outputs = (tuple(rename.get(n, n) for n in names) for names in (node.inputs, node.outputs))
    return replace(node, inputs=inputs, outputs=outputs, attrs=attrs)


def _renamed_graph(graph: Graph, rename: dict[str, str]) -> Graph:
    outputs = tuple(replace(o, name=rename.get(o.name, o.name)) for o in graph.outputs)
    return replace(graph, nodes=tuple(_renamed(n, rename) for n in graph.nodes), outputs=outputs)
