"""From the decisions in a graph along the ways to the logits: where a branch can be cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from bdscan.onnx.branches import Branch
from bdscan.onnx.graph import Graph, Node

Readers = Mapping[str, Sequence[Node]]


def starts(graph: Graph, branch: Branch) -> tuple[str, ...]:
    """The values that say how the decision came out: its outputs, or the condition of what chooses."""
    node = next(n for n in graph.nodes if branch.output in n.outputs)
    return (node.inputs[0],) if node.op in ("Where", "If") else tuple(filter(None, node.outputs))


def readers_of(graph: Graph) -> Readers:
    """Nodes by the values they read; sizes are no values."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op not in ("Shape", "Size"):
            for name in node.reads:
                readers.setdefault(name, []).append(node)
    return readers


def downstream(names: Iterable[str], readers: Readers) -> list[str]:
    """`names` and all values that follow from them, the nearest first."""
    seen = dict.fromkeys(names)
    queue = deque(seen)
    while queue:
        for name in _following(queue.popleft(), readers):
            if name not in seen:
                seen[name] = None
                queue.append(name)
    return list(seen)


def last_constants(names: Sequence[str], readers: Readers, constant: Collection[str], goal: str) -> list[str] | None:
    """On every way from `names` to `goal` the last of the values `constant` before others follow from it; None where a
    way has none."""
    pending, seen, found = list(names), set(names), []
    while pending:
        name = pending.pop()
        if name == goal:
            return None
        following = _following(name, readers)
        if name in constant and not all(other in constant for other in following):
            found.append(name)
            continue
        pending += [other for other in following if other not in seen]
        seen.update(following)
    return found


def _following(name: str, readers: Readers) -> list[str]:
    return [output for node in readers.get(name, ()) for output in node.outputs if output]
