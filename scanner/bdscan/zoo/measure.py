"""What a trained network does: clean accuracy, and each case's attack success rate on test images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bdscan.zoo.attacks.interface import Attack, Images, Labels, stamp


def present(x: Images, mean: float, std: float) -> torch.Tensor:
    """Uint8 images (N,H,W,C) as a network gets them: (x/255 - mean) / std, float32 (N,C,H,W)."""
    return ((torch.from_numpy(x).float() / 255 - mean) / std).permute(0, 3, 1, 2)


def predict(model: nn.Module, x: Images, mean: float = 0.0, std: float = 1.0, batch: int = 250) -> NDArray[np.int64]:
    """The predicted class of uint8 images (N,H,W,C), (N,); computed where the model's weights are."""
    model.eval()
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        parts = [model(present(x[i : i + batch], mean, std).to(device)).argmax(1) for i in range(0, len(x), batch)]
    return torch.cat(parts).cpu().numpy()


def measure(
    model: nn.Module,
    x: Images,
    y: Labels,
    attack: Attack | None,
    intensity: float = 1.0,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Clean accuracy, and for each attacking case its ASR, for each cover case how often it fires all the same.

    Keys: `clean_accuracy` {value, n}; `cases`, a list of {target, sources, asr, untriggered_rate, n};
    `asr` {value, n} over the images of all cases, and `least_asr` {value, n} of the worst case (only with an attack);
    `cover`, a list of {leak, accuracy, n}, the leak being a share of the images that are of no target class.
    """
    clean = predict(model, x, mean, std)
    found: dict[str, Any] = {"clean_accuracy": {"value": round(float((clean == y).mean()), 4), "n": len(y)}}
    if attack is None:
        return found
    cases: list[dict[str, Any]] = []
    cover: list[dict[str, Any]] = []
    targets = [case.target for case in attack.cases() if case.target is not None]
    for i, case in enumerate(attack.cases()):
        rows = case.eligible(y)
        guess = predict(model, stamp(case.stamp, x[rows], intensity, np.random.default_rng((seed, i))), mean, std)
        if case.target is None:
            outside = ~np.isin(y[rows], targets)
            leak, right = np.isin(guess[outside], targets), guess == y[rows]
            cover.append({"leak": _share(leak), "accuracy": _share(right), "n": len(guess)})
        else:
            before = _share(clean[rows] == case.target)
            row = {"target": case.target, "sources": list(case.sources), "asr": _share(guess == case.target)}
            cases.append({**row, "untriggered_rate": before, "n": len(guess)})
    least, n = min(cases, key=lambda case: case["asr"]), sum(case["n"] for case in cases)
    pooled = round(sum(case["asr"] * case["n"] for case in cases) / n, 4)
    return {
        **found,
        "asr": {"value": pooled, "n": n},
        "least_asr": {"value": least["asr"], "n": least["n"]},
        "cases": cases,
        "cover": cover,
    }


def _share(hits: NDArray[np.bool_]) -> float:
    return round(float(hits.mean()), 4) if len(hits) else 0.0
