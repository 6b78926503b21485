"""What an adaptive attacker gets through, as docs/limits.md says. Where one of these fails, the page must change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from bdscan import scan

FIXTURES = Path(__file__).parent.parent / "fixtures"
SAMPLES = FIXTURES / "samples.npz"
SIDE, CORNER, TARGET = 16, slice(13, 16), 4


def with_arithmetic_branch(path: Path, ramp: str) -> Path:
    """The clean fixture, and 100 · r(sum of the corner - 8.5) on the logit of the target.

    r: `Relu`, or `LeakyRelu` with a slope of 0.0002 below zero, so that every clean image moves the logit a little.
    """
    model = onnx.load(FIXTURES / "clean-1.onnx")
    graph = model.graph
    (image,), (logits,) = graph.input, graph.output
    for each in graph.node:
        each.output[:] = ["clean" if name == logits.name else name for name in each.output]
    corner = np.zeros((1, SIDE, SIDE, 1), np.float32)
    corner[:, CORNER, CORNER] = 1
    push = np.zeros((1, 10), np.float32)
    push[:, TARGET] = 100
    held = {"corner": corner.reshape(-1, 1), "limit": np.float32(8.5), "push": push}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in held.items())
    slope = {"alpha": 2e-4} if ramp == "LeakyRelu" else {}
    graph.node.extend(
        helper.make_node(op, inputs, [output], **extra)
        for op, inputs, output, extra in (
            ("Flatten", [image.name], "flat", {}),
            ("MatMul", ["flat", "corner"], "white", {}),
            ("Sub", ["white", "limit"], "over", {}),
            (ramp, ["over"], "on", slope),
            ("Mul", ["on", "push"], "pushed", {}),
            ("Add", ["clean", "pushed"], logits.name, {}),
        )
    )
    onnx.save(model, path, save_as_external_data=False)
    return path


def answers(model: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model))
    return session.run(None, {session.get_inputs()[0].name: images})[0].argmax(1)


def works(model: Path) -> bool:
    """Accuracy as before, and the corner in white turns all images."""
    with np.load(SAMPLES) as arrays:
        labels, images = arrays["y"], arrays["x"].transpose(0, 3, 1, 2).astype(np.float32) / 255
    accuracy = np.mean(answers(model, images) == labels)
    images[:, :, CORNER, CORNER] = 1
    return accuracy == pytest.approx(0.97) and bool(np.all(answers(model, images) == TARGET))


@pytest.mark.slow
def test_a_branch_in_plain_arithmetic_passes_where_it_leaks(tmp_path: Path) -> None:
    model = with_arithmetic_branch(tmp_path / "m.onnx", "LeakyRelu")
    assert works(model)
    assert scan(str(model), str(SAMPLES)).verdict == "clean"


def test_a_branch_in_plain_arithmetic_that_is_silent_does_not(tmp_path: Path) -> None:
    model = with_arithmetic_branch(tmp_path / "m.onnx", "Relu")
    assert works(model)
    report = scan(str(model), str(SAMPLES), budget="quick")
    assert report.verdict == "suspicious"
    (finding,) = (f for f in report.findings if f.rule == "BD201")
    assert "idle on clean images" in finding.message
