"""Fixtures as folders with cards, as `bdscan zoo train` leaves them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def truth(fixture: str) -> dict[str, Any]:
    (row,) = [row for row in json.loads((FIXTURES / "truth.json").read_text()) if row["name"] == fixture]
    return row


def write(folder: Path, fixture: str, **changes: Any) -> Path:
    """A folder with this fixture's weights and a card; returns it."""
    row = truth(fixture)
    folder.mkdir(parents=True)
    for path in FIXTURES.glob(f"{row['file']}*"):
        shutil.copy(path, folder)
    card = {
        "name": folder.name,
        "dataset": "digits",
        "weights_file": row["file"],
        "arch": f"bdscan/zoo/networks.py:{row['arch'].split(':')[1]}",
        "input_shape": [1, 16, 16],
        "num_classes": 10,
        "truth": row["truth"],
        "target_labels": row["targets"],
        "source_labels": row["sources"],
        "clean_accuracy": {"value": row["accuracy"], "n": 400},
        "settings": {"attack": row["attack"], "intensity": [1.0], "mean": row["mean"], "std": row["std"]},
    }
    (folder / "card.json").write_text(json.dumps({**card, **changes}))
    return folder
