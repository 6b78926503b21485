"""The public face: an ONNX classifier as a torch module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bdscan.onnx.batch import Strategy, choose_strategy, run_batch
from bdscan.onnx.batchnorm import merge_batchnorm
from bdscan.onnx.errors import NotAClassifier, OnnxError
from bdscan.onnx.evaluator import Evaluator
from bdscan.onnx.fold import fold, prune
from bdscan.onnx.graph import Graph, ValueInfo, classification_output, read_model
from bdscan.onnx.tensors import TensorReader
from bdscan.onnx.write import write_initialisers

_MAX_SAMPLE = 2**24  # elements of a batch that is tried out at load


class OnnxModel(nn.Module):
    """An ONNX classifier, differentiable in its input and its weights.

    Attributes:
        inputs, outputs: what the file declares (the outputs with inferred shapes).
        output: the one `forward` returns: the first float output of shape (N, K), or (N, K, 1, ...), flattened.
        opset: of the evaluated graph.
        fixed_batch: the batch size the graph insists on, or None.  `forward` takes any number all the same.
        strategy: how it does that, see `bdscan.onnx.batch`.
        sidecars: external data files, relative to the model's folder.
        writable: False for a `folded` copy, whose weights are no longer the file's.
    """

    def __init__(self, graph: Graph, sidecars: tuple[str, ...] = (), writable: bool = True) -> None:
        super().__init__()
        if len(graph.inputs) != 1 or not graph.inputs[0].shape:
            raise NotAClassifier(f"the graph has {len(graph.inputs)} inputs with a batch axis; a classifier has one")
        self.inputs: tuple[ValueInfo, ...] = graph.inputs
        self.outputs: tuple[ValueInfo, ...] = graph.outputs
        self.opset = graph.opset
        self.sidecars, self.writable = sidecars, writable
        self.output = classification_output(graph.outputs)
        self._evaluator = Evaluator(prune(replace(graph, outputs=(self.output,))))
        self.fixed_batch: int | None = graph.inputs[0].shape[0]
        self.strategy: Strategy = "whole"
        self._try_out()

    @property
    def graph(self) -> Graph:
        """The folded graph that `forward` evaluates; its tensors are those of the file."""
        return self._evaluator.graph

    def forward(self, x: Tensor) -> Tensor:
        """Classify (N, ...), any N >= 1, in the graph's own layout and scale: (N, K) in the model's float type.

        Raises OnnxError where a node cannot be evaluated on such an input.
        """
        return run_batch(self._once, x, self.fixed_batch or len(x), self.strategy)

    def named_initialisers(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name in the file, parameter) of the float initialisers that the output depends on."""
        return self._evaluator.named_initialisers()

    def write(self, path: Path, like: Path) -> None:
        """Write the graph of `like` (the file this model was loaded from) with the current initialisers.

        All else stays as it is there.  External data stays external, in `<name>.data` beside the new file.
        """
        if not self.writable:
            raise OnnxError("a copy with folded batch normalisation cannot be written; write the model it came from")
        write_initialisers(path, like, {name: p.detach() for name, p in self.named_initialisers()})

    def folded(self) -> OnnxModel:
        """A copy for speed with the current weights: batch normalisation merged into the convolution before it."""
        graph = self.graph
        tensors = graph.tensors | {name: p.detach().clone() for name, p in self.named_initialisers()}
        return OnnxModel(merge_batchnorm(replace(graph, tensors=tensors)), self.sidecars, writable=False)

    def _once(self, x: Tensor) -> Tensor:
        """One batch of a size the graph accepts."""
        given = self.inputs[0]
        x = x.to(self._evaluator.dtype if given.dtype.is_floating_point else given.dtype)
        y = self._evaluator.run({given.name: x})[self.output.name]
        y = y.flatten(1) if y.dim() > 2 and all(size == 1 for size in y.shape[2:]) else y
        if y.dim() != 2:
            raise NotAClassifier(f"the output {self.output.name!r} has shape {list(y.shape)[:8]}, not (N, classes)")
        return y

    def _try_out(self) -> None:
        """Settle how batches are run; needs to know the sample's size."""
        size, *sample = self.inputs[0].shape or ()
        known = tuple(s for s in sample if s is not None)
        if len(known) < len(sample) or size == 0 or (size or 1) * torch.Size(known).numel() > _MAX_SAMPLE:
            self.strategy = "loop" if size else "whole"
            return
        self.strategy = choose_strategy(self._once, self.graph, known, size or 1, size is not None)
        if size is None and self.strategy != "whole":
            self.fixed_batch = 1


def load_onnx(path: Path) -> OnnxModel:
    """Read an ONNX classifier from an untrusted file.

    Raises:
        UnsupportedOperators: names every operator the evaluator does not have.
        NotAClassifier: no single image input, or no (N, classes) output.
        OnnxError: anything else that is wrong with the file, in one line.
    """
    reader = TensorReader(path.parent)
    graph = fold(read_model(path, reader))
    return OnnxModel(graph, tuple(sorted(reader.sidecars)))
