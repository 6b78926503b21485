"""Runs a Graph on torch tensors, differentiably in its inputs and its trainable initialisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.fold import apply
from bdscan.onnx.graph import Graph, Node
from bdscan.onnx.ops.registry import host_inputs


@dataclass(frozen=True)
class _Step:
    node: Node
    host: frozenset[int] | None  # inputs that stay on the CPU; None: all of them
    drop: tuple[str, ...]  # values nobody reads afterwards


class Evaluator(nn.Module):
    """`run(feeds)` gives the graph's outputs by name.

    Float initialisers are parameters (no gradient asked for by default); other tensors are constants that move with
    the module.  After `.to(torch.bfloat16)` (or `.double()`) every float value inside has that type.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        host = host_values(graph)
        self._held: dict[str, str] = {}  # value name -> attribute (ONNX names may hold dots and slashes)
        self._constants = {
            n: t for n, t in graph.tensors.items() if n in host or n not in graph.trainable
        }  # on the CPU
        for i, (name, tensor) in enumerate(graph.tensors.items()):
            if name in host:
                continue
            self._held[name] = f"t{i}"
            if name in graph.trainable:
                self.register_parameter(f"t{i}", nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(f"t{i}", tensor, persistent=False)
        floats = [t for n, t in graph.tensors.items() if n in graph.trainable and n not in host]
        self._native = floats[0].dtype if floats else torch.float32
        self._anchor: Tensor
        self.register_buffer("_anchor", torch.zeros((), dtype=self._native), persistent=False)
        self._branches = nn.ModuleDict()
        self._steps = tuple(self._plan(host))

    def _plan(self, host: frozenset[str]) -> Iterator[_Step]:
        last: dict[str, int] = {}
        for i, node in enumerate(self.graph.nodes):
            last |= dict.fromkeys((*node.reads, *filter(None, node.outputs)), i)
            for key, inner in node.attrs.items():
                if isinstance(inner, Graph):
                    self._branches[f"{i}{key}"] = Evaluator(inner)
        keep = {o.name for o in self.graph.outputs}
        drops: dict[int, list[str]] = {}
        for name, i in last.items():
            if name not in keep:
                drops.setdefault(i, []).append(name)
        for i, node in enumerate(self.graph.nodes):
            numbers = None if host.issuperset(filter(None, node.outputs)) else host_inputs(node.op)
            if node.op in ("Shape", "Size"):  # need no data, so nothing is moved
                numbers = frozenset((0,))
            yield _Step(node, numbers, tuple(drops.get(i, ())))

    def named_initialisers(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(ONNX initialiser name, parameter)."""
        for name, attribute in self._held.items():
            value = getattr(self, attribute)
            if isinstance(value, nn.Parameter):
                yield name, value

    @property
    def dtype(self) -> torch.dtype:
        """The float type values have inside: the file's own, or what the module was cast to."""
        return self._anchor.dtype

    def run(self, feeds: Mapping[str, Tensor], outer: Mapping[str, Tensor | None] | None = None) -> dict[str, Tensor]:
        """Evaluate; `outer` holds the values a subgraph captures."""
        values: dict[str, Tensor | None] = {**(outer or {}), **self._constants, **feeds}
        for name, attribute in self._held.items():
            values[name] = getattr(self, attribute)
        cast = self.dtype if self.dtype != self._native else None
        device = self._anchor.device
        for i, step in enumerate(self._steps):
            node = step.node
            results: tuple[Tensor | None, ...]
            if node.op == "If":
                results = self._branch(i, node, values)
            else:
                results = apply(node, self._arguments(step, values, device), self.graph.opset)
            for name, result in zip(node.outputs, results, strict=False):
                if cast is not None and step.host is not None and result is not None and result.is_floating_point():
                    result = result.to(cast)
                values[name] = result
            for name in step.drop:
                values.pop(name, None)
        return {o.name: _present(values, o.name) for o in self.graph.outputs}

    def _arguments(self, step: _Step, values: Mapping[str, Tensor | None], device: torch.device) -> list[Tensor | None]:
        arguments = [values[name] if name else None for name in step.node.inputs]
        if device.type == "cpu":
            return arguments
        if step.host is None:
            return [a if a is None else a.cpu() for a in arguments]
        for i, name in enumerate(step.node.inputs):
            value = arguments[i]
            if value is not None:
                arguments[i] = self._constants.get(name, value) if i in step.host else value.to(device)
        return arguments

    def _branch(self, i: int, node: Node, values: Mapping[str, Tensor | None]) -> tuple[Tensor, ...]:
        condition = _present(values, node.inputs[0])
        if condition.numel() != 1:
            raise OnnxError(f"{node.label} has a condition of shape {list(condition.shape)}; one value is needed")
        branch = self._branches[f"{i}{'then_branch' if bool(condition.item()) else 'else_branch'}"]
        assert isinstance(branch, Evaluator)
        inner = branch.run({}, outer=values)
        return tuple(inner[o.name] for o in branch.graph.outputs)


def _present(values: Mapping[str, Tensor | None], name: str) -> Tensor:
    value = values.get(name)
    if value is None:
        raise OnnxError(f"the value {name!r} was not computed")
    return value


def host_values(graph: Graph) -> frozenset[str]:
    """Values only ever read as plain numbers (shapes, axes, sizes): they stay on the CPU, in their own type."""
    other = {o.name for o in graph.outputs} | {i.name for i in graph.inputs}
    seen: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op in ("If", "Shape", "Size"):  # a branch may use it for anything; a shape is read wherever it lies
            other.update(node.reads)
        elif not other.isdisjoint(node.outputs) or not seen.intersection(node.outputs):
            numbers = host_inputs(node.op)
            other.update(n for i, n in enumerate(node.inputs) if i not in numbers)
        seen.update(node.reads)
    return frozenset(seen - other)
