"""Trigger branches in an ONNX graph: decisions that depend on the image, and ways beside the network that are idle."""

from __future__ import annotations

from pathlib import Path

from bdscan.intake.classifier import Scannable
from bdscan.intake.presented import Presented
from bdscan.onnx.branches import suspicious_branches
from bdscan.onnx.fold import fold
from bdscan.onnx.graph import read_model
from bdscan.onnx.idle import idle_ways

IMAGES = 64  # about; more are not needed to show what is idle
NAME = 80  # characters of a name from the file


def branches(subject: Scannable) -> list[str]:
    """What was found in the subject's graph, in words. OnnxError where the graph cannot be followed."""
    presented = subject.classifier.forward
    if not isinstance(presented, Presented):
        raise TypeError("an ONNX network has a presentation of pixels before it")
    graph = fold(read_model(Path(str(subject.classifier.graph))))
    decisions = suspicious_branches(graph)
    rows = subject.samples.search
    images, _ = subject.samples.part(rows[:: max(len(rows) // IMAGES, 1)])
    idle = idle_ways(graph, presented.present(images).to(graph.inputs[0].dtype))
    known = {decision.output for decision in decisions}
    return [
        *(f"{found.op_type} {(found.node or found.output)[:NAME]!r}" for found in decisions),
        *(f"{way.op} {way.node[:NAME]!r} (idle on clean images)" for way in idle if way.output not in known),
    ]
