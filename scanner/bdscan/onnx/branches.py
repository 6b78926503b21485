"""Decisions inside a graph that trained image classifiers do not take.

Values are followed, not shapes: the walk from the input stops at Shape and Size, and what follows from constants has
been folded away, so attention masks and shape arithmetic do not count.  A branch made of plain arithmetic (a steep
ReLU, a product with a saturated sigmoid) evades this check (see `bdscan.onnx.idle`), and so does a decision that is
written as an element-wise activation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bdscan.onnx.dtypes import torch_dtype
from bdscan.onnx.fold import fold
from bdscan.onnx.graph import Graph, Node, classification_output

_DECISIONS = frozenset(
    (
        "And",
        "ArgMax",
        "ArgMin",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Ceil",
        "Compress",
        "Equal",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "Hardmax",
        "If",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Mod",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "Round",
        "Sign",
        "TopK",
        "Where",
        "Xor",
    )
)
_COMPARISONS = frozenset(("Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"))
_ELEMENTWISE = frozenset(
    (
        "Abs",
        "Add",
        "Cast",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Identity",
        "LeakyRelu",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Sub",
        "Tanh",
        "Where",
    )
)
_PATH_LENGTH = 12
_ACTIVATION_SIZE = 16  # nodes


@dataclass(frozen=True)
class Branch:
    """A decision that depends on the image and reaches the logits.

    `path`: operators from the decision to the output, the shortest way, at most `_PATH_LENGTH` of them.
    """

    op_type: str
    node: str
    output: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class _Flow:
    graph: Graph
    dependent: set[str]  # values that follow from the input's values
    makers: dict[str, Node]
    readers: dict[str, list[Node]]

    def is_number(self, name: str) -> bool:
        constant = self.graph.tensors.get(name)
        return constant is not None and constant.numel() == 1


def suspicious_branches(graph: Graph) -> list[Branch]:
    """Input-dependent decisions that reach the classification output, in evaluation order.

    An `If` that folding could not decide counts even where its condition depends on the batch size only.
    Element-wise activations written with a comparison (`Where(x > 0, x, a * x)`) do not count.
    """
    graph = fold(graph)
    goal = classification_output(graph.outputs).name
    flow = _Flow(graph, _dependent_values(graph), _makers(graph), _readers(graph))
    found = []
    for node in graph.nodes:
        if not _decides(node, flow) or _is_activation(node, flow):
            continue
        path = _path_to(goal, node, flow.readers)
        if path is not None:
            found.append(Branch(node.op, node.name, node.outputs[0], path))
    return found


def _dependent_values(graph: Graph) -> set[str]:
    dependent = {given.name for given in graph.inputs}
    for node in graph.nodes:
        if node.op not in ("Shape", "Size") and not dependent.isdisjoint(node.reads):
            dependent.update(name for name in node.outputs if name)
    return dependent


def _makers(graph: Graph) -> dict[str, Node]:
    return {name: node for node in graph.nodes for name in node.outputs if name}


def _readers(graph: Graph) -> dict[str, list[Node]]:
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op not in ("Shape", "Size"):
            for name in node.reads:
                readers.setdefault(name, []).append(node)
    return readers


def _decides(node: Node, flow: _Flow) -> bool:
    if node.op == "If":
        return True
    if node.op == "Where":
        return node.inputs[0] in flow.dependent
    if node.op in ("Cast", "CastLike"):
        return node.inputs[0] in flow.dependent and _makes_whole(node, flow)
    return node.op in _DECISIONS and not flow.dependent.isdisjoint(node.reads)


def _makes_whole(node: Node, flow: _Flow) -> bool:
    """Whether a Cast makes whole numbers or truth values: of a fraction that is a step."""
    if node.op == "Cast":
        return not torch_dtype(node.attrs["to"]).is_floating_point
    like = flow.graph.tensors.get(node.inputs[1])
    return like is None or not like.is_floating_point()


def _path_to(goal: str, start: Node, readers: dict[str, list[Node]]) -> tuple[str, ...] | None:
    """Operators on the shortest way from a node to a value; None where there is none."""
    queue: deque[tuple[Node, tuple[str, ...]]] = deque([(start, (start.op,))])
    seen = set(start.outputs)
    while queue:
        node, path = queue.popleft()
        if goal in node.outputs:
            return path[:_PATH_LENGTH]
        for name in node.outputs:
            for reader in readers.get(name, []):
                if seen.isdisjoint(reader.outputs):
                    seen.update(reader.outputs)
                    queue.append((reader, (*path, reader.op)))
    return None


def _is_activation(node: Node, flow: _Flow) -> bool:
    """Whether the node only chooses between element-wise functions of the very values it looks at."""
    if node.op == "Where":
        test = flow.makers.get(node.inputs[0])
        return test is not None and test.op in _COMPARISONS and _is_activation(test, flow)
    if node.op not in _COMPARISONS:
        return False
    looked_at = [name for name in node.inputs if name in flow.dependent]
    others = [name for name in node.inputs if name not in flow.dependent]
    if len(looked_at) != 1 or not all(flow.is_number(name) for name in others):
        return False
    choosers = flow.readers.get(node.outputs[0], [])
    return bool(choosers) and all(
        c.op == "Where" and all(_follows(name, looked_at[0], flow) for name in c.inputs[1:]) for c in choosers
    )


def _follows(name: str, source: str, flow: _Flow) -> bool:
    """Whether a value is a constant number, or an element-wise function of `source` and constant numbers."""
    pending, steps = [name], 0
    while pending:
        value = pending.pop()
        if value == source or flow.is_number(value):
            continue
        maker = flow.makers.get(value)
        steps += 1
        if maker is None or value not in flow.dependent or maker.op not in _ELEMENTWISE or steps > _ACTIVATION_SIZE:
            return False
        pending.extend(i for i in maker.inputs if i)
    return True
