"""The evaluator against onnxruntime, a second implementation of the same file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.model import OnnxModel


def run_onnxruntime(model: OnnxModel, path: Path, x: NDArray[np.float32]) -> torch.Tensor:
    """onnxruntime's outputs (N, K), float64, for `x` (N, ...) of the file `path` whose input and output are `model`'s.

    Raises OnnxError where onnxruntime refuses the file or the input.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # or it sends usage data from where there is no sandbox
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    given, n = model.inputs[0], model.fixed_batch or len(x)
    batch = np.concatenate([x, np.repeat(x[-1:], -len(x) % n, axis=0)])
    feeds = torch.from_numpy(batch).to(given.dtype).numpy()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        parts = [session.run([model.output.name], {given.name: part})[0] for part in np.split(feeds, len(feeds) // n)]
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise OnnxError(f"onnxruntime cannot run {path.name}: {error}") from None
    return torch.from_numpy(np.concatenate(parts)[: len(x)].astype(np.float64)).flatten(1)


def check_against_onnxruntime(model: OnnxModel, path: Path, x: NDArray[np.float32]) -> float:
    """Largest absolute difference between the model's outputs and onnxruntime's on `x` (N, ...).

    `inf` where either has a value that is not finite: such a model cannot be called equal.
    Raises OnnxError where onnxruntime refuses the file or the input.
    """
    reference = run_onnxruntime(model, path, x)
    device = next((p.device for _, p in model.named_initialisers()), torch.device("cpu"))
    with torch.no_grad():
        own = model(torch.from_numpy(x).to(device)).double().cpu()
    if own.shape != reference.shape:
        raise OnnxError(f"onnxruntime gives {list(reference.shape)}, the evaluator {list(own.shape)}")
    if not bool(torch.isfinite(own).all() & torch.isfinite(reference).all()):
        return float("inf")
    return float((own - reference).abs().max())
