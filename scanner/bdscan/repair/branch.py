"""Cutting a trigger branch out of an ONNX graph.

A branch in the graph ends in a switch: a value that says which side the logits come from, and that is the same for all
clean images. It is made a constant, and what only served to compute it is dropped. Nothing is guessed: a way from a
comparison to the logits on which clean images differ at every step is part of what the network does, and is not cut;
and every output of the cut graph must equal the original's, bit by bit, on every clean image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bdscan.errors import CannotJudge
from bdscan.intake.classifier import Scannable
from bdscan.intake.load import printable
from bdscan.intake.presented import Presented
from bdscan.onnx import Branch, OnnxError, OnnxModel, rewrite, suspicious_branches
from bdscan.onnx.constants import Array, apart, run, same, together, unchanging
from bdscan.onnx.fold import fold
from bdscan.onnx.graph import Graph, classification_output, read_model
from bdscan.onnx.idle import IdleWay, idle_ways
from bdscan.onnx.prepare import OLDEST_OPSET, parse, prepare
from bdscan.onnx.switches import downstream, last_constants, readers_of, starts
from bdscan.onnx.write import write_model
from bdscan.repair.outcome import Cut, Switch

BATCH = 64
SOME = 8  # batches of another arrangement
ROUNDS = 8  # a side that is taken may hold a branch of its own
MOST_NAMED = 20
LENGTH = 80  # characters of a name from the file


@dataclass(frozen=True)
class Trial:
    """What clean images are compared on: the file's own input and outputs.

    Attributes:
        arranged: all images in two arrangements, for the values inside.
        parts: all images once and some of them again, for the outputs, which take the whole network.
        expected: the original's outputs for each of `parts`.
    """

    given: str
    outputs: tuple[str, ...]
    arranged: tuple[Array, ...]
    parts: tuple[Array, ...]
    expected: tuple[tuple[Array, ...], ...]


def cut_out(subject: Scannable, original: Path, path: Path) -> Cut:
    """`cut_branches` of a loaded subject, on all of its samples."""
    presented = subject.classifier.forward
    if not isinstance(presented, Presented) or not isinstance(subject.classifier.module, OnnxModel):
        raise CannotJudge("the report finds a branch in a graph, and this model is no ONNX file; nothing can be cut")
    own = Presented(presented.network, presented.preprocessing, presented.mould)
    parts = torch.split(subject.samples.images, BATCH)
    x = torch.cat([own.present(part.float() / 255) for part in parts])
    return cut_branches(subject.classifier.module, original, path, x)


def cut_branches(model: OnnxModel, original: Path, path: Path, x: Tensor) -> Cut:
    """Write the graph of `original` without its input-dependent branches to `path`; external weights go to `path`.data.

    Args:
        model: loaded from `original`.
        x: the network's own input (N, ...) for all clean images.

    CannotJudge where a branch cannot be cut safely; it says why.
    """
    try:
        return _cut(model, original, path, x)
    except OnnxError as error:
        raise CannotJudge(_refusal(str(error))) from None


def _cut(model: OnnxModel, original: Path, path: Path, x: Tensor) -> Cut:
    proto = parse(original)
    if not any(o.domain in ("", "ai.onnx") and o.version >= OLDEST_OPSET for o in proto.opset_import):
        raise OnnxError(f"its opset is older than {OLDEST_OPSET}; export the model again")
    given = model.inputs[0]
    images, fixed = x.to(given.dtype).cpu().numpy(), model.fixed_batch
    several, others = together(images, fixed), apart(images, fixed)
    parts = (*several, *others[:SOME])
    nodes = rewrite.size(proto.graph)
    switches: list[Switch] = []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        current = Path(folder) / "0.onnx"
        write_model(current, prepare(proto), original)
        outputs = tuple(output.name for output in proto.graph.output)
        trial = Trial(given.name, outputs, (*others, *several), parts, _answers(current, outputs, given.name, parts))
        for number in range(1, ROUNDS + 2):
            graph = fold(read_model(current))
            branches, idle = suspicious_branches(graph), idle_ways(graph, x.to(given.dtype))
            if not branches and not idle:
                break
            if number > ROUNDS:
                raise OnnxError(f"the graph check still finds one after {ROUNDS} cuts")
            values = _switches(graph, branches, current, trial) if branches else _silent(idle, current, trial)
            switches += [_described(graph, name, values[name]) for name in values]
            following = Path(folder) / f"{number}.onnx"
            _write_without(values, current, following, trial)
            current = following
        left = parse(current)
        write_model(path, left, current)
    if not switches:
        raise OnnxError("the graph check finds none in this file; scan it again")
    removed = max(nodes - rewrite.size(left.graph), 0)
    return Cut(switches=tuple(switches[:MOST_NAMED]), count=len(switches), removed=removed, images=len(x))


def _answers(path: Path, outputs: Sequence[str], given: str, parts: Sequence[Array]) -> tuple[tuple[Array, ...], ...]:
    return tuple(tuple(values) for values in run(path, outputs, given, parts))


def _write_without(values: dict[str, Array], old: Path, new: Path, trial: Trial) -> None:
    """`old` with `values` constant, without the switch itself where the outputs allow that."""
    reason = ""
    for settled in (True, False):
        proto = parse(old)
        rewrite.freeze(proto.graph, values)
        if settled:
            rewrite.settle(proto.graph, values)
        rewrite.prune(proto.graph)
        write_model(new, proto, old)
        reason = _difference(new, trial)
        if not reason:
            return
    raise OnnxError(reason)


def _difference(path: Path, trial: Trial) -> str:
    """Why the file's outputs are not those expected; empty if they are, on every image."""
    try:
        for values, expected in zip(run(path, trial.outputs, trial.given, trial.parts), trial.expected, strict=True):
            for name, now, before in zip(trial.outputs, values, expected, strict=True):
                if not same(now, before):
                    return f"without it the output {_short(name)} changes on clean images"
    except OnnxError:
        return "the rest of the graph does not run without it"
    return ""


def _switches(graph: Graph, branches: Sequence[Branch], path: Path, trial: Trial) -> dict[str, Array]:
    """The values to make constant: on every way from a branch to the logits the last before clean images differ.

    OnnxError where there is a way without one.
    """
    if inside := _conditions_around(branches, path):
        if sides := unchanging(path, inside, trial.given, trial.arranged):
            return sides
        raise OnnxError("it lies inside an If of which clean images take both sides")
    goal, readers = classification_output(graph.outputs).name, readers_of(graph)
    outcomes = [(branch, starts(graph, branch)) for branch in branches]
    below = downstream([name for _, names in outcomes for name in names], readers)
    known = unchanging(path, [name for name in below if name != goal], trial.given, trial.arranged)
    found: dict[str, Array] = {}
    for branch, names in outcomes:
        last = last_constants(names, readers, known, goal)
        if last is None:
            raise OnnxError(
                f"clean images take both sides of {branch.op_type} {_short(branch.node or branch.output)}, "
                "so it is part of what the network does"
            )
        found |= {name: known[name] for name in last}
    return found


def _silent(idle: Sequence[IdleWay], path: Path, trial: Trial) -> dict[str, Array]:
    """What idle ways bring to the network, where that is the same for all clean images, bit by bit; else OnnxError."""
    values = unchanging(path, [way.value for way in idle], trial.given, trial.arranged)
    for way in idle:
        if way.value not in values:
            raise OnnxError(f"what joins {way.op} {_short(way.node)} changes a little with the clean image")
    return values


def _conditions_around(branches: Sequence[Branch], path: Path) -> list[str]:
    """Of branches inside an If that is decided at load: its condition, so that its side is taken out first."""
    nodes = parse(path).graph.node
    made = {name for node in nodes for name in node.output}
    inner = [branch.output for branch in branches if branch.output not in made]
    ifs = [node for node in nodes if node.op_type == "If"]
    return [n.input[0] for n in ifs if any(name.startswith(f"{n.output[0]}/") for name in inner)]


def _described(graph: Graph, name: str, value: Array) -> Switch:
    maker = next((n for n in graph.nodes if name in n.outputs), None)
    uses = [node.op for node in graph.nodes if name in node.reads]
    return Switch(
        value=printable(name, LENGTH),
        made_by=maker.op if maker else "",
        used_by=tuple(dict.fromkeys(uses))[:MOST_NAMED],
        constant=_said(value),
    )


def _said(value: Array) -> str:
    if value.dtype == np.bool_ and value.size and value.min() == value.max():
        return "true" if value.min() else "false"
    if value.size and value.min() == value.max():
        return f"{value.flat[0]:g}"
    return f"one tensor of shape {list(value.shape)[:8]}"


def _short(name: str) -> str:
    return repr(printable(name, LENGTH))


def _refusal(why: str) -> str:
    return (
        f"the branch in the graph cannot be cut: {printable(why, 300)}; rebuild the graph from a trusted architecture "
        "with these weights"
    )
