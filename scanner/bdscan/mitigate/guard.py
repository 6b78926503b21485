"""The guarded model: the original behind a fixed transformation of its raw input, written and checked."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.classifier import Samples
from bdscan.intake.files import digest_of
from bdscan.intake.load import Intake
from bdscan.intake.presented import Presented
from bdscan.intake.torchscript import read_torchscript
from bdscan.mitigate import guard_onnx, guard_torch
from bdscan.mitigate.catalogue import Transformation
from bdscan.mitigate.linear import separated
from bdscan.mitigate.outcome import Guard
from bdscan.onnx import OnnxError, OnnxModel, run_onnxruntime
from bdscan.repair.outcome import SIDECAR
from bdscan.repair.student import HALVES

BATCH = 64
MAX_DIFFERENCE = 1e-3  # of the largest output, as for a graph's own evaluation
IN_HALF = 1e-2  # of a network in half precision, whose own rounding is a thousandth


def check_name(name: str, kind: str) -> None:
    """UsageError where the suffix would lie about the format that a guard of a `kind` model has."""
    if not name.lower().endswith(".onnx" if kind == "ONNX" else (".pt", ".pth", ".ts")):
        wanted = "ONNX: end its name with .onnx" if kind == "ONNX" else "TorchScript: end its name with .pt or .ts"
        raise UsageError(f"--guard {name}: the guarded form of this model is {wanted}")


def write_guard(intake: Intake, original: Path, path: Path, chosen: Transformation) -> Guard:
    """Write the model of `intake` behind `chosen` to `path`, and compare it with the original on transformed samples.

    CannotJudge where it cannot be written or computes something else.
    """
    classifier, samples = intake.scannable.classifier, intake.scannable.samples
    own, network = classifier.forward, classifier.module
    assert isinstance(own, Presented)
    assert network is not None
    network = network.cpu()
    linear = separated(chosen.apply, classifier.shape)
    shown = Presented(network, classifier.preprocessing, own.mould)
    layout = classifier.preprocessing.layout
    try:
        if isinstance(network, OnnxModel):
            name = network.inputs[0].name
            guard_onnx.write_guarded(original, path, name, linear, shown.offset, own.mould, layout)
            difference, largest = _by_onnxruntime(network, original, path, shown, chosen, samples)
        else:
            example = shown.present(_pixels(samples, slice(0, 2)))
            guard_torch.write_guarded(network, path, example, linear, shown.offset, own.mould, layout)
            difference, largest = _by_torch(network, path, shown, chosen, samples)
    except OnnxError as error:
        raise CannotJudge(f"--guard: {error}") from None
    except OSError as error:
        raise CannotJudge(f"--guard: the guarded model cannot be written ({error.strerror})") from None
    relative = difference / max(1.0, largest)
    if not relative <= (IN_HALF if any(p.dtype in HALVES for p in network.parameters()) else MAX_DIFFERENCE):
        raise CannotJudge(
            f"--guard: the written model differs from the transformation and the original by {difference:.1e} where "
            f"outputs reach {largest:.1e}; it was thrown away"
        )
    onnx = isinstance(network, OnnxModel)
    weights = path.with_name(path.name + SIDECAR)
    return Guard(
        transformation=chosen.text,
        file=digest_of(path, "model", path.name),
        sidecar=digest_of(weights, "sidecar", weights.name) if weights.is_file() else None,
        format="ONNX" if onnx else "TorchScript",
        difference=relative,
        checked_with="onnxruntime" if onnx else "torch",
        images=len(samples.labels),
    )


def _pixels(samples: Samples, rows: slice) -> Tensor:
    return samples.images[rows].float() / 255


def _by_onnxruntime(
    network: OnnxModel, original: Path, path: Path, shown: Presented, chosen: Transformation, samples: Samples
) -> tuple[float, float]:
    """Both files in onnxruntime: largest difference, and largest output."""
    pixels = _pixels(samples, slice(None))
    guarded = run_onnxruntime(network, path, shown.present(pixels).numpy())
    wanted = run_onnxruntime(network, original, shown.present(chosen.apply(pixels)).numpy())
    return _compared(guarded, wanted)


def _by_torch(
    network: nn.Module, path: Path, shown: Presented, chosen: Transformation, samples: Samples
) -> tuple[float, float]:
    """The written file, read as any TorchScript is, beside the network; other batch sizes than the traced one."""
    written = Presented(read_torchscript(path), shown.preprocessing, shown.mould)
    guarded, wanted = [], []
    with torch.no_grad():
        for start in range(0, len(samples.labels), BATCH):
            pixels = _pixels(samples, slice(start, start + BATCH))
            guarded.append(written(pixels))
            wanted.append(shown(chosen.apply(pixels)))
    return _compared(torch.cat(guarded), torch.cat(wanted))


def _compared(guarded: Tensor, wanted: Tensor) -> tuple[float, float]:
    if guarded.shape != wanted.shape or not bool(torch.isfinite(guarded).all() & torch.isfinite(wanted).all()):
        return float("inf"), 0.0
    return float((guarded - wanted).abs().max()), float(wanted.abs().max())
