"""`bdscan zoo branch-table`: trigger branches planted in the graphs of given networks, and what the graph check says.

The weights stay as they are, so every network of a folder serves, clean or not: exported with its preprocessing, once
as it is and once with each kind of branch. The scan's other stages are not run; no branch is known to them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bdscan.detectors import graph
from bdscan.detectors.interface import Budget, Hints, Measurement
from bdscan.intake.classifier import Classifier
from bdscan.intake.load import load
from bdscan.intake.presented import Presented
from bdscan.jail.compute import deterministic
from bdscan.onnx import constants
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.trigger_branch import JOINS, Join, add_branch
from bdscan.zoo.clean_images import CleanImages
from bdscan.zoo.fidelity import scan_settings
from bdscan.zoo.model_folder import ModelFolder, find
from bdscan.zoo.record import made, markdown_table, write_json, write_text
from bdscan.zoo.repair_table import images_for

Row = dict[str, Any]
PER_CLASS = 10
IMAGES = 300  # to measure with
TARGET, LOGIT, SIZE = 1, 100.0, 8  # the patch is an eighth of the image's side
TEXT = """\
Each network is exported to ONNX with its preprocessing, once as it is ("clean") and once with each kind of branch: a
checkerboard in a corner decides the logits by a comparison, or a ReLU or a steep sigmoid of its distance is added to
them, or the ReLU is concatenated with them before one more layer. ASR is onnxruntime's, on up to 300 test images with
the patch; "same" is the share of the same images without it whose answer stays. "Found" is the graph check alone, with
ten clean images a class; no weights are looked at.
"""
HEADER = ("network", "graph", "ASR", "same", "found", "what it says")


def run(
    folders: Sequence[Path],
    data: Path,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    only: str = "",
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Plant the branches in all networks of `folders` and write the table; returns it."""
    rows = []
    for model in find(folders, only):
        rows += planted_in(model, images_for(model, data, PER_CLASS))
        note(f"{model.name}: {sum(row.get('found', False) for row in rows if row['name'] == model.name)} found")
    table = {**made(command), "rows": rows}
    write_json(out, table)
    if markdown is not None:
        write_text(markdown, page(table))
    return table


def planted_in(model: ModelFolder, clean: CleanImages) -> list[Row]:
    """A row for the network as it is and for each branch; one with a `note` where it cannot be exported."""
    images, _ = clean.to_measure(IMAGES, 0)
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        samples = scratch / "samples.npz"
        clean.write_drawn(samples)
        settings = scan_settings(model.weights, samples, model.arch(scratch), "quick", 0, 1)
        with deterministic(settings):
            classifier = load(settings).scannable.classifier
            if classifier.graph is not None:
                return [{"name": model.name, "note": "an ONNX file already"}]
            plain = exported(classifier, scratch / "clean.onnx")
            expected = _answers(scratch / "clean.onnx", images)
            rows = []
            for join in (None, *JOINS):
                proto = plain if join is None else with_branch(plain, classifier, join)
                path = scratch / "model.onnx"
                onnx.save(proto, path)
                row: Row = {"name": model.name, "graph": join or "clean", **_checked(path, samples)}
                row["same"] = float((_answers(path, images) == expected).mean())
                if join is not None:
                    stamped = _patch(classifier).apply(images, 1.0, np.random.default_rng(0))
                    row["asr"] = float((_answers(path, stamped) == TARGET).mean())
                rows.append(row)
    return rows


def exported(classifier: Classifier, path: Path) -> onnx.ModelProto:
    """The network with its preprocessing, for any number of images (N, C, H, W) in [0, 1]."""
    assert isinstance(classifier.forward, Presented)
    example = torch.rand(2, *classifier.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Whole(classifier.forward).eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
        )
    return onnx.load(path)


class _Whole(nn.Module):
    """A presentation and its network as one module, which the exporter asks for."""

    def __init__(self, presented: Presented) -> None:
        super().__init__()
        self.presented, self.network = presented, presented.network

    def forward(self, images: Tensor) -> Tensor:
        return self.presented(images)


def with_branch(model: onnx.ModelProto, classifier: Classifier, join: Join) -> onnx.ModelProto:
    truth = _patch(classifier).truth(classifier.shape)
    return add_branch(model, truth["pattern"], truth["mask"], TARGET, logit=LOGIT, join=join)


def _patch(classifier: Classifier) -> BadNets:
    return BadNets(target=TARGET, size=max(2, min(classifier.shape[1:]) // SIZE), margin=0)


def _answers(path: Path, images: Tensor) -> NDArray[np.int64]:
    """onnxruntime's answers (N,)."""
    parts = [part.numpy() for part in torch.split(images, 64)]
    return np.concatenate([logits.argmax(1) for (logits,) in constants.run(path, ["logits"], "image", parts)])


def _checked(path: Path, samples: Path) -> Row:
    """What the graph check says of the file; its `found` is the rule's."""
    loaded = load(scan_settings(path, samples, None, "quick", 0, 1)).scannable
    result = graph.run(loaded, Budget("quick"), Hints(), lambda share: None)
    assert isinstance(result, Measurement), "an ONNX file has a graph"
    return {"found": any(bool(each.value) for each in result.statistics), "says": result.summary}


def page(table: dict[str, Any]) -> str:
    """The whole document."""
    rows = [row for row in table["rows"] if "note" not in row]
    counts = []
    for kind in ("clean", *JOINS):
        of = [row for row in rows if row["graph"] == kind]
        counts.append((kind, f"{sum(row['found'] for row in of)} of {len(of)}"))
    notes = "".join(f"- `{row['name']}` is left out: {row['note']}.\n" for row in table["rows"] if "note" in row)
    return "\n".join(
        [
            "# Trigger branches in the graph\n",
            f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}.\n",
            TEXT,
            markdown_table(("graph", "found"), counts),
            markdown_table(HEADER, [_line(row) for row in rows]),
            notes,
        ]
    )


def _line(row: Row) -> tuple[object, ...]:
    asr = f"{100 * row['asr']:.0f}" if "asr" in row else None
    return row["name"], row["graph"], asr, f"{100 * row['same']:.0f}", "yes" if row["found"] else "no", row["says"]
