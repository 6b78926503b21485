"""Running any number of samples through a graph that was exported for a fixed batch size.

Three ways, tried in this order at load and compared on random samples with running chunk by chunk:
`whole` (one larger batch; only for graphs of plain layers, where samples cannot influence each other),
`vectorised` (`torch.func.vmap` over chunks of the fixed size, the same function by construction), `loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.graph import Graph

Strategy = Literal["whole", "vectorised", "loop"]
Run = Callable[[Tensor], Tensor]

# Layers that treat the samples of a batch apart, or visibly do not (a scrambling Reshape disagrees on random samples).
# Not among them: control flow, comparisons and extremes, which may look independent on random samples only.
_PLAIN = frozenset(
    (
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Conv",
        "Div",
        "Dropout",
        "Elu",
        "Flatten",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LRN",
        "LayerNormalization",
        "LeakyRelu",
        "LogSoftmax",
        "MatMul",
        "MaxPool",
        "Mul",
        "PRelu",
        "Pad",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    )
)


def run_batch(run: Run, x: Tensor, size: int, strategy: Strategy) -> Tensor:
    """`run` on (N, ...) in chunks of `size`, the last one filled up with copies of the last sample; (N, K)."""
    if strategy == "whole" or len(x) == size:
        return run(x)
    missing = -len(x) % size
    filled = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x
    chunks = filled.reshape(-1, size, *x.shape[1:])
    y = torch.func.vmap(run)(chunks) if strategy == "vectorised" else torch.stack([run(c) for c in chunks])
    return y.reshape(-1, *y.shape[2:])[: len(x)]


@torch.no_grad()
def choose_strategy(run: Run, graph: Graph, sample: tuple[int, ...], size: int, declared: bool) -> Strategy:
    """The first strategy that gives what single chunks give.

    Args:
        run: the graph on exactly one batch.
        sample: shape of one sample.
        size: of a chunk.
        declared: whether the file fixes the batch size; if not, `whole` is what it promises, and is kept if it works.
    """
    x = torch.rand((2 * size, *sample), generator=torch.Generator().manual_seed(0))
    try:
        wanted = torch.cat([run(x[:size]), run(x[size:])])
    except OnnxError:
        if declared:
            raise
        run(x)  # perhaps a graph that needs more than one sample
        return "whole"
    plain = all(node.op in _PLAIN for node in graph.nodes)
    candidates: tuple[Strategy, ...] = ("whole", "vectorised") if plain or not declared else ("vectorised",)
    for strategy in candidates:
        try:
            found = run_batch(run, x, size, strategy)
        except (OnnxError, RuntimeError):  # vmap refuses data-dependent steps with a RuntimeError
            continue
        if not declared and strategy == "whole":
            return strategy
        tolerance = 1e-4 * max(1.0, float(wanted.abs().max()))
        if found.shape == wanted.shape and float((found - wanted).abs().max()) <= tolerance:
            return strategy
    return "loop"
