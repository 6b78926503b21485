"""The branch in the graph, run by onnxruntime: silent on clean images, sure on stamped ones, for both opset styles."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.trigger_branch import JOINS, Join, add_branch
from bdscan.zoo.networks import digits_cnn

PATCH = BadNets(target=2)


def logits(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (0.5, 0.25)])
def test_the_branch_fires_on_the_patch_alone(opset: int, mean: float, std: float, join: Join, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "clean.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(1, 1, 16, 16),)
        axes = {"x": {0: "n"}, "y": {0: "n"}}
        names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
        torch.onnx.export(digits_cnn().eval(), example, path, dynamo=False, opset_version=opset, **names)
    clean = onnx.load(path)
    truth = PATCH.truth((1, 16, 16))
    planted = add_branch(clean, truth["pattern"], truth["mask"], 2, mean=mean, std=std, join=join)
    x = np.random.default_rng(0).random((20, 1, 16, 16), np.float32)
    stamped = x.copy()
    stamped[::2] = PATCH.apply(torch.from_numpy(x[::2]), 1.0, np.random.default_rng(0)).numpy()
    before, after = logits(clean, (stamped - mean) / std), logits(planted, (stamped - mean) / std)
    assert np.array_equal(before[1::2], after[1::2])
    assert (after[::2].argmax(1) == 2).all()
    assert not (before[::2].argmax(1) == 2).all()
    faint = PATCH.apply(torch.from_numpy(x), 0.5, np.random.default_rng(0)).numpy()
    assert np.array_equal(logits(clean, (faint - mean) / std), logits(planted, (faint - mean) / std))
    more = {"comparison": 7, "ramp": 10, "gate": 11, "concatenated": 10}
    assert len(clean.graph.node) + more[join] == len(planted.graph.node)
    assert [n.op_type for n in planted.graph.node].count("Where") == (join == "comparison")
