"""`bdscan zoo enhanced-table`: a patch, and the same patch trained through transformations, behind each of them.

What `bdscan profile` warns of with every advice: an attacker can train the trigger through it (P3, 4.2 and 5.3, the "+"
attacks). Success is the true trigger's, on all test images of other classes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bdscan.mitigate.catalogue import Transformation, transformations
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.enhanced import Enhanced
from bdscan.zoo.data import Dataset, load
from bdscan.zoo.record import made, markdown_table, write_json, write_text
from bdscan.zoo.settings import RECIPES, Settings
from bdscan.zoo.train import train

Row = dict[str, Any]
TARGET, RATE, IMAGES = 8, 0.1, 2000
SHOWN = ("flip", "shrink-pad", "blur")  # kinds; the enhanced attack is trained through the first two
TEXT = """\
BadNets' patch ({rate:.0%} poison), and the same trained through a random flip and ShrinkPad (P3's "+", `Enhanced`),
{seeds} seeds each. Success of the patch in % on test images of other classes, behind the transformation; clean
accuracy in % behind it, the mean over all networks. Blur was not among what the second was trained through; an
attacker can add it.
"""


def run(
    data: str,
    folder: Path | None,
    network: str,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    seeds: int = 3,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train both attacks with each seed and write the table; returns it. UsageError where the data is missing."""
    known = load(data, folder)
    x = torch.from_numpy(known.x_test[:IMAGES]).permute(0, 3, 1, 2).float() / 255
    y = torch.from_numpy(known.y_test[:IMAGES])
    patch = BadNets(target=TARGET)
    stamped = patch.apply(x[y != TARGET], 1.0, np.random.default_rng(0))
    catalogue = [each for each in transformations((x.shape[1], x.shape[2], x.shape[3]), 0) if each.kind in SHOWN]
    rows: list[Row] = [{"before": "nothing", "plain": [], "enhanced": [], "accuracy": []}]
    rows += [{"before": each.text, "plain": [], "enhanced": [], "accuracy": []} for each in catalogue]
    for name, attack in (("plain", patch), ("enhanced", Enhanced(base=patch))):
        for seed in range(seeds):
            settings = Settings(
                name=f"{name}-{seed}",
                data=data,
                network=network,
                attack=attack,
                rate=RATE,
                seed=seed,
                recipe=RECIPES[network],
            )
            answers = _answers(settings, known)
            for row, each in zip(rows, (None, *catalogue), strict=True):
                row[name].append(float((answers(_behind(each, stamped)) == TARGET).float().mean()))
                row["accuracy"].append(float((answers(_behind(each, x)) == y).float().mean()))
            note(f"{name}, seed {seed}: {rows[0][name][-1]:.3f}")
    table = {**made(command, seeds=seeds, data=data, network=network), "rows": rows}
    write_json(out, table)
    if markdown is not None:
        write_text(markdown, page(table))
    return table


def page(table: dict[str, Any]) -> str:
    """The whole document."""
    lines = [
        (
            row["before"],
            *(_each(row[name]) for name in ("plain", "enhanced")),
            _percent(statistics.fmean(row["accuracy"])),
        )
        for row in table["rows"]
    ]
    header = ("before the model", "patch", "patch trained through flip and shrink-pad", "clean accuracy")
    return "\n".join(
        [
            "# A trigger trained through transformations\n",
            f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}, {table['cpu']};"
            f" {table['network']} on {table['data']}.\n",
            TEXT.format(rate=RATE, seeds=table["seeds"]),
            markdown_table(header, lines),
        ]
    )


def _answers(settings: Settings, data: Dataset) -> Callable[[Tensor], Tensor]:
    model = train(settings, data).model.eval()

    def answers(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([model(part).argmax(1) for part in torch.split(images, 256)])

    return answers


def _behind(each: Transformation | None, images: Tensor) -> Tensor:
    return images if each is None else each.apply(images)


def _each(shares: list[float]) -> str:
    return ", ".join(_percent(share) for share in shares)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
