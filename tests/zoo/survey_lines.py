"""Lines of surveys, for the tests of what is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MADE = {"budget": "standard", "seed": 0, "date": "2026-01-02", "version": "0.1.0", "torch": "2"}


def row(name: str, verdict: str, score: float | None, **more: Any) -> dict[str, Any]:
    clean = "clean" in name
    plain = {
        "name": name,
        "data": "digits",
        "attack": None if clean else "warp",
        "truth": "clean" if clean else "backdoored",
        "targets": [] if clean else [3],
        "sources": [] if clean else [[]],
        "card_asr": None if clean else {"value": 0.97, "n": 100},
        "verdict": verdict,
        "right": (verdict == "clean") == clean,
        "rule": None,
        "found_target": None,
        "found_sources": [],
        "score": score,
        "clean_accuracy": {"value": 0.95, "n": 100},
        "seconds": 2.0,
        "input_shape": [1, 16, 16],
        "classes": 10,
        "settings": {"network": "digits_cnn", "intensity": [1.0]},
        "made": MADE,
    }
    return plain | more


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path
