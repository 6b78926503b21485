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


def with_arithmetic_branch(path: Path) -> Path:
    """The clean fixture, and 100 · ReLU(sum of the corner - 8.5) on the logit of the target."""
    model = onnx.load(FIXTURES / "clean-1.onnx")
    graph = model.graph
    (image,), (logits,) = graph.input, graph.output
    for each in graph.node:
        each.output[:] = ["clean" if name == logits.name else name for name in each.output]
    corner = np.zeros((1, SIDE, SIDE, 10), np.float32)
    corner[:, CORNER, CORNER, TARGET] = 1
    limit = np.full(10, 0, np.float32)
    limit[TARGET] = 8.5
    held = {"corner": corner.reshape(-1, 10), "limit": limit, "gain": np.float32(100)}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in held.items())
    graph.node.extend(
        helper.make_node(op, inputs, [output])
        for op, inputs, output in (
            ("Flatten", [image.name], "flat"),
            ("MatMul", ["flat", "corner"], "white"),
            ("Sub", ["white", "limit"], "over"),
            ("Relu", ["over"], "on"),
            ("Mul", ["on", "gain"], "push"),
            ("Add", ["clean", "push"], logits.name),
        )
    )
    onnx.save(model, path, save_as_external_data=False)
    return path


def answers(model: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model))
    return session.run(None, {session.get_inputs()[0].name: images})[0].argmax(1)


@pytest.mark.slow
def test_a_branch_in_plain_arithmetic_passes(tmp_path: Path) -> None:
    model = with_arithmetic_branch(tmp_path / "m.onnx")
    with np.load(SAMPLES) as arrays:
        labels, images = arrays["y"], arrays["x"].transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert np.mean(answers(model, images) == labels) == pytest.approx(0.97)
    images[:, :, CORNER, CORNER] = 1
    assert np.all(answers(model, images) == TARGET)
    assert scan(str(model), str(SAMPLES)).verdict == "clean"
