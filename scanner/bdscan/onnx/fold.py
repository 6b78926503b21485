"""What never changes is computed once at load: shape arithmetic, constants, the branch of a decided `If`."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.graph import Graph, Node, Shape
from bdscan.onnx.ops import OPERATORS
from bdscan.onnx.ops.registry import MAX_ELEMENTS, check_size, host_inputs

MAX_KNOWN = 2**26  # elements computed at load: shapes, masks, and the odd constant
_PROBES = (1, 2, 5)  # batch sizes: what is equal in all three does not depend on the batch
_FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)


def apply(node: Node, values: list[Tensor | None], opset: int) -> tuple[Tensor | None, ...]:
    """Run one node; every failure is an OnnxError that names it (but for lack of GPU memory, which callers handle)."""
    try:
        result = OPERATORS[node.op].handler(*values, attrs=node.attrs, opset=opset)
    except OnnxError as error:
        raise OnnxError(f"{node.label}: {error}") from None
    except torch.OutOfMemoryError:
        raise
    except _FAILURES as error:
        raise OnnxError(f"{node.label} cannot be evaluated: {type(error).__name__}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def fold(graph: Graph) -> Graph:
    """The same function without the nodes whose results are known beforehand and without the dead ones.

    Known is what follows from constants and from the *shape* of the input: the graph is run on tensors without data
    (torch's meta device), which leave shape arithmetic real; what needs data stays.  Trainable initialisers have no
    data here either, because what is computed from them must follow a repair.
    """
    while True:
        runs = [_abstract_run(graph, batch) for batch in _batches(graph)]
        known = {name: value for name, value in runs[0].items() if _agree([run.get(name) for run in runs])}
        inlined = _inline_decided(graph, known)
        if inlined is None:
            break
        graph = inlined
    nodes = tuple(n for n in graph.nodes if not all(o in known for o in n.outputs if o))
    outputs = tuple(replace(o, shape=_common_shape([run.get(o.name) for run in runs], o.shape)) for o in graph.outputs)
    return prune(replace(graph, nodes=nodes, tensors=graph.tensors | known, outputs=outputs))


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


def _batches(graph: Graph) -> tuple[int, ...]:
    free = any(i.shape and i.shape[0] is None for i in graph.inputs)
    return _PROBES if free else _PROBES[:1]


def _abstract_run(graph: Graph, batch: int) -> dict[str, Tensor]:
    """Values by name: real where they are known, on the meta device where only their shape is; unknown ones lack."""
    values = {n: t.to("meta") if n in graph.trainable else t for n, t in graph.tensors.items()}
    for given in graph.inputs:
        shape = given.shape
        if shape and None not in shape[1:]:
            sizes = [batch if s is None else s for s in shape]
            check_size(sizes)
            values[given.name] = torch.empty(sizes, dtype=given.dtype, device="meta")
    made = 0  # elements of real results: views count too, so this is no less than what is kept
    for node in graph.nodes:
        if node.op == "If" or not all(name in values for name in node.inputs if name):
            continue
        arguments = [values[name] if name else None for name in node.inputs]
        if any(a is not None and a.is_meta for a in arguments):
            numbers = host_inputs(node.op)
            arguments = [a if a is None or i in numbers else a.to("meta") for i, a in enumerate(arguments)]
        try:
            with torch.no_grad():
                results = apply(node, arguments, graph.opset)
        except OnnxError:
            continue  # needs data, or is wrong: the real run will tell
        made += sum(value.numel() for value in results if value is not None and not value.is_meta)
        largest = max((value.numel() for value in results if value is not None), default=0)
        if made > MAX_KNOWN or largest > MAX_ELEMENTS:
            asked, limit = (made, MAX_KNOWN) if made > MAX_KNOWN else (largest, MAX_ELEMENTS)
            raise OnnxError(f"{node.label} makes {asked} elements; the limit is {limit}")
        values |= {
            name: value for name, value in zip(node.outputs, results, strict=False) if name and value is not None
        }
    return values


def _agree(values: list[Tensor | None]) -> bool:
    """Whether a value is real, and the same in every run."""
    first = values[0]
    if first is None or first.is_meta:
        return False
    return all(v is first or (v is not None and not v.is_meta and _equal(first, v)) for v in values[1:])


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _common_shape(values: list[Tensor | None], declared: Shape | None) -> Shape | None:
    if any(v is None for v in values):
        return declared
    shapes = [v.shape for v in values if v is not None]
    if len({len(s) for s in shapes}) != 1:
        return None
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))


def _inline_decided(graph: Graph, known: dict[str, Tensor]) -> Graph | None:
    """Replace every `If` whose condition is known by its branch; None if there is none."""
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    decided = False
    taken = (
        {name for node in graph.nodes for name in node.outputs} | {given.name for given in graph.inputs} | set(tensors)
    )
    for node in graph.nodes:
        condition = known.get(node.inputs[0]) if node.op == "If" else None
        if condition is None or condition.numel() != 1:
            nodes.append(node)
            continue
        decided = True
        branch = node.attrs["then_branch" if bool(condition) else "else_branch"]
        inside, extra = _inline(node, branch, taken)
        taken |= {name for inner in inside for name in inner.outputs} | extra.keys()
        nodes += inside
        tensors |= extra
    return replace(graph, nodes=tuple(nodes), tensors=tensors) if decided else None


def _inline(node: Node, branch: Graph, taken: Set[str]) -> tuple[list[Node], dict[str, Tensor]]:
    """The branch's nodes under names that are not `taken`, ending in the If's own outputs."""
    own = set(branch.tensors) | {o for n in branch.nodes for o in n.outputs if o}
    prefix = f"{node.outputs[0]}/"
    while any(prefix + name in taken for name in own):
        prefix += "_"
    rename = {name: prefix + name for name in own}
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
