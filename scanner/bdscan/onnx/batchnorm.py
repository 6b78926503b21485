"""Batch normalisation merged into the convolution before it: the same function in inference, with fewer passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from bdscan.onnx.fold import prune
from bdscan.onnx.graph import Graph

SUFFIX = "+bn"  # of the merged weights' names


def merge_batchnorm(graph: Graph) -> Graph:
    """W' = W·γ/√(σ²+ε), b' = (b - μ)·γ/√(σ²+ε) + β, where the convolution feeds nothing else."""
    aliases = {n.outputs[0]: n.inputs[0] for n in graph.nodes if n.op == "Identity"}
    readers = Counter(name for node in graph.nodes for name in node.reads)
    readers.update(output.name for output in graph.outputs)
    makers = {node.outputs[0]: node for node in graph.nodes if node.op == "Conv"}
    tensors, merged, dropped = dict(graph.tensors), {}, set()
    for norm in graph.nodes:
        conv = makers.get(norm.inputs[0]) if norm.op == "BatchNormalization" else None
        if conv is None or readers[conv.outputs[0]] != 1 or norm.attrs.get("training_mode", 0):
            continue
        constants = [_constant(name, tensors, aliases) for name in (*conv.inputs[1:], *norm.inputs[1:5]) if name]
        if any(c is None for c in constants):
            continue
        weight, *bias, scale, shift, mean, var = (c for c in constants if c is not None)
        factor = scale / torch.sqrt(var + norm.attrs.get("epsilon", 1e-5))
        names = (f"{norm.outputs[0]}.weight{SUFFIX}", f"{norm.outputs[0]}.bias{SUFFIX}")
        tensors[names[0]] = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
        tensors[names[1]] = ((bias[0] if bias else 0) - mean) * factor + shift
        merged[conv.outputs[0]] = replace(conv, inputs=(conv.inputs[0], *names), outputs=(norm.outputs[0],))
        dropped.add(norm.outputs[0])
    kept = (n for n in graph.nodes if n.op != "BatchNormalization" or n.outputs[0] not in dropped)
    nodes = tuple(merged.get(n.outputs[0], n) for n in kept)
    trainable = graph.trainable | {n for n in tensors if n.endswith(SUFFIX)}
    return prune(replace(graph, nodes=nodes, tensors=tensors, trainable=trainable))


def _constant(name: str, tensors: dict[str, Tensor], aliases: dict[str, str]) -> Tensor | None:
    """The tensor behind a name, through the Identity nodes that the exporter puts on shared weights."""
    while name in aliases:
        name = aliases[name]
    return tensors.get(name)
