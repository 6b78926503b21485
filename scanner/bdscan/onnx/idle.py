"""Ways from the image to the logits, beside the network, that say nothing on clean images.

A trigger branch in plain arithmetic (a steep ReLU, a product with a saturated sigmoid; Bober-Irizar et al. 2023) has no
comparison to see. But it joins the network somewhere, shares few of its layers, and must be silent on clean images:
what it brings to the join can be taken from another image, and no logit moves. A residual network's own shortcuts share
few layers too, and carry the image; a dead block carries nothing, and shares all of its shortcut's layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.evaluator import Evaluator
from bdscan.onnx.fold import prune
from bdscan.onnx.graph import Graph, Node, Shape, ValueInfo, classification_output

_JOINS = frozenset(("Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum", "Where"))
_LAYERS = frozenset(("Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul"))
_SHARED = 0.5  # of the layers behind the other values that meet there; a way that has fewer goes beside the network
_MOVED = 1e-3  # of the logits' spread; nothing at all where features are concatenated, which a layer may nearly ignore
_IMAGES, _BATCH = 32, 4


@dataclass(frozen=True)
class IdleWay:
    """`value` joins the network at `node` (an operator `op` that makes `output`); another image's moves no logit."""

    value: str
    node: str
    op: str
    output: str


def idle_ways(graph: Graph, x: Tensor) -> list[IdleWay]:
    """The idle ways to the classification output of a folded graph, on clean images x (N, ...) as the graph takes them.

    Of x as many are looked at as show it. OnnxError where the graph cannot be evaluated.
    """
    goal = classification_output(graph.outputs)
    graph = prune(replace(graph, outputs=(goal,)))
    found = list(_beside(graph))
    if not found:
        return []
    image = graph.inputs[0].name
    batches, others = _batches(x, graph.inputs[0].shape)
    plain = Evaluator(graph)
    logits = [_run(plain, {image: batch})[goal.name] for batch in batches]
    spread = float(torch.cat(logits).double().std(0).square().mean().sqrt())
    values = {node.inputs[i]: ValueInfo(node.inputs[i], None, torch.float32) for node, i in found}
    watching = Evaluator(replace(graph, outputs=tuple(values.values())))
    outside = _unused(graph)
    for batch, other, usual in zip(batches, others, logits, strict=True):
        given = _run(watching, {image: other}) if found else {}
        idle = []
        for node, i in found:
            reading = Evaluator(_reading(graph, node, i, outside))
            swapped = _run(reading, {image: batch, outside: given[node.inputs[i]]})[goal.name]
            if float((swapped - usual).abs().max()) <= (0.0 if node.op == "Concat" else _MOVED * spread):
                idle.append((node, i))
        found = idle
    return [IdleWay(node.inputs[i], node.name or node.outputs[0], node.op, node.outputs[0]) for node, i in found]


def _batches(x: Tensor, shape: Shape | None) -> tuple[list[Tensor], list[Tensor]]:
    """Some of x in batches that the graph takes, and the same with another image in each place."""
    if len(x) < 2:
        raise OnnxError("one image does not show what in a graph is idle")
    size = (shape or (None,))[0] or _BATCH
    count = max(_IMAGES // size, 1) * size
    rows = torch.arange(count) * max(len(x) // count, 1) % len(x)
    return list(torch.split(x[rows], size)), list(torch.split(x[(rows + len(x) // 2) % len(x)], size))


def _beside(graph: Graph) -> Iterator[tuple[Node, int]]:
    """Joins, and which of their inputs share few layers with the other ones."""
    behind: dict[str, frozenset[str]] = {given.name: frozenset() for given in graph.inputs}
    for node in graph.nodes:
        from_image = [name for name in node.reads if name in behind] if node.op not in ("Shape", "Size") else []
        if not from_image:
            continue
        layers = frozenset[str]().union(*(behind[name] for name in from_image))
        if node.op in _LAYERS:
            layers |= {node.outputs[0]}
        behind |= {name: layers for name in node.outputs if name}
        if node.op in _JOINS:
            for i, name in enumerate(node.inputs):
                others = [behind[other] for k, other in enumerate(node.inputs) if k != i and other in behind]
                rest = frozenset[str]().union(*others)
                if name in behind and len(behind[name] & rest) < _SHARED * len(rest):
                    yield node, i


def _reading(graph: Graph, join: Node, number: int, name: str) -> Graph:
    """The graph whose `join` reads `name`, a value from outside, as its input of that number."""
    inputs = tuple(name if i == number else own for i, own in enumerate(join.inputs))
    nodes = tuple(replace(node, inputs=inputs) if node is join else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _unused(graph: Graph) -> str:
    """A name that no value has: a file may use any name that it could guess."""
    used = {name for node in graph.nodes for name in (*node.reads, *node.outputs)} | set(graph.tensors)
    name = "outside"
    while name in used:
        name += "'"
    return name


def _run(evaluator: Evaluator, feed: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return evaluator.run(feed)
