"""Structured mutations of every kind of file that bdscan opens: `python -m fuzz --seconds 600 --seed 1` in this folder.

The files are opened in a confined process like the worker (`hostile_cell.py`). A file may load or be refused in one
line; any other end (an unexpected type of error, a crash, no answer) is a finding: it is kept and named, and the exit
code is 1.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "intake")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from hostile_cell import Cell, Outcome  # noqa: E402
from mutations import bytes_of, json_of, npy_of, onnx_of, pickle_of, safetensors_of, text_of, zip_of  # noqa: E402
from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from toys import quarters, toy, write_arch, write_npz  # noqa: E402

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
BAD = ("internal", "died", "hung")
SLOW = 20.0  # seconds for one input: as bad as a hang
Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Parser:
    """One kind of file: where it goes, what good ones look like, how they are changed, and what opens them."""

    name: str
    file: str
    seeds: tuple[bytes, ...]
    change: Mutation
    do: tuple[str, ...]
    option: str = "model"


def torch_zip_of(raw: bytes, rng: random.Random) -> bytes:
    return zip_of(raw, rng, {".pkl": pickle_of})


def script_of(raw: bytes, rng: random.Random) -> bytes:
    return zip_of(raw, rng, {".py": text_of, ".pkl": pickle_of})


def npz_of(raw: bytes, rng: random.Random) -> bytes:
    return zip_of(raw, rng, {".npy": npy_of})


def saved(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def scripted(module: nn.Module) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), out)
    return out.getvalue()


class Branching(nn.Module):
    """A little program: a loop, a branch, a list, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x.flatten(1))
        for i in range(3):
            if float(y.sum()) > 100.0 * i:
                y = torch.stack([y, y + self.scale]).mean(0)
        return y


def graphs() -> tuple[bytes, ...]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def model(nodes: list, tensors: dict) -> bytes:
        held = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
        graph = helper.make_graph(nodes, "g", [x], [y], held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()

    node, ones = helper.make_node, np.ones((64, 4), np.float32)
    plain = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    shapes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "i0"], ["n"]),
        node("Concat", ["n", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["f"]),
        node("Einsum", ["f", "w"], ["e"], equation="ni,ik->nk"),
        node("ReduceSum", ["e", "i1"], ["q"], keepdims=1),
        node("Greater", ["q", "zero"], ["g"]),
        node("Where", ["g", "e", "q"], ["y"]),
    ]
    then = helper.make_graph([node("Neg", ["m"], ["o"])], "a", [], [onnx.ValueInfoProto(name="o")])
    other = helper.make_graph([node("Identity", ["m"], ["o"])], "b", [], [onnx.ValueInfoProto(name="o")])
    branch = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("ReduceMax", ["m"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["g"]),
        node("If", ["g"], ["y"], then_branch=then, else_branch=other),
    ]
    resized = [
        node("Resize", ["x", "", "scales"], ["big"], mode="linear"),
        node("Slice", ["big", "lo", "hi", "ax"], ["cut"]),
        node("Pad", ["cut", "pads"], ["pad"]),
        node("GlobalAveragePool", ["pad"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    return (
        model(
            plain,
            {"k": np.ones((2, 1, 3, 3), np.float32), "w": np.ones((32, 4), np.float32), "b": np.zeros(4, np.float32)},
        ),
        model(
            shapes, {"i0": np.array([0]), "rest": np.array([64]), "w": ones, "i1": np.array([1]), "zero": np.float32(0)}
        ),
        model(branch, {"w": ones, "zero": np.float32(0)}),
        model(
            resized,
            {
                "scales": np.array([1, 1, 2, 2], np.float32),
                "lo": np.array([0, 0]),
                "hi": np.array([8, 8]),
                "ax": np.array([2, 3]),
                "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
                "v": np.ones((1, 4), np.float32),
            },
        ),
        (FIXTURES / "trigger-branch.onnx").read_bytes(),
    )


def pictures() -> dict[str, bytes]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    kinds = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP", "ppm": "PPM"}
    found = {}
    for suffix, kind in kinds.items():
        out = io.BytesIO()
        image.save(out, kind)
        found[suffix] = out.getvalue()
    return found


RULES = b"""version = 1
[[rule]]
id = "X1"
title = "t"
severity = "low"
about = "trigger"
when = [{ ratio = { max = 0.2 }, "a/b" = { min = 1 } }]
message = "{family} {target}"
remedy = "r"
"""


def parsers(folder: Path) -> list[Parser]:
    state, module = toy().state_dict(), toy()
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent / "formats"))
    import sample
    from safetensors.torch import save as to_safetensors

    x, y = quarters()
    arrays = io.BytesIO()
    np.savez(arrays, x=x, y=y, classes=np.array(list("abcd")))
    convolution = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
    ).eval()
    both = ("model", "model", "model", "load")
    names = (
        json.dumps(["a", "b", "c", "d"]).encode(),
        b'{"0": ["n1", "cat"], "1": "dog", "2": "x", "3": "y"}',
        b"a\nb\nc\nd\n",
    )
    reports = tuple(
        make().model_dump_json().encode() for make in (sample.clean, sample.inconclusive, sample.suspicious)
    )
    return [
        Parser("state_dict", "m.pt", (saved(state), saved({"state_dict": state, "epoch": 3})), torch_zip_of, both),
        Parser("whole module", "m.pt", (saved(module), saved(convolution)), torch_zip_of, both),
        Parser("safetensors", "m.safetensors", (to_safetensors(state),), safetensors_of, both),
        Parser("ONNX", "m.onnx", graphs(), onnx_of, both),
        Parser("TorchScript", "m.pt", (scripted(Branching()), scripted(module)), script_of, both),
        Parser(".npz", "s.npz", (arrays.getvalue(),), npz_of, ("samples",), "samples"),
        *(
            Parser(f"image .{suffix}", f"images/cat/1.{suffix}", (raw,), bytes_of, ("samples",), "images")
            for suffix, raw in pictures().items()
        ),
        Parser(
            "labels",
            "labels.txt",
            names,
            lambda raw, rng: rng.choice((text_of, bytes_of))(raw, rng),
            ("labels",),
            "labels",
        ),
        Parser(
            "rules",
            "r.toml",
            (RULES,),
            lambda raw, rng: rng.choice((text_of, text_of, bytes_of))(raw, rng),
            ("rules",),
            "rules",
        ),
        Parser("report", "r.json", reports, json_of, ("report",)),
    ]


def settings_for(parser: Parser, folder: Path, path: Path) -> dict[str, object]:
    common: dict[str, object] = {"model": "absent", "arch": f"{folder}/arch.py:toy", "samples": f"{folder}/good.npz"}
    if parser.option == "images":
        return common | {"samples": str(folder / "images")}
    return common | {parser.option: [str(path)] if parser.option == "rules" else str(path)}


def prepare(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_arch(folder / "arch.py")
    write_npz(folder / "good.npz")
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(folder / "images" / name / f"g{number}.png")


def fuzz(folder: Path, seed: int, seconds: float, inputs: int, only: str, kept: Path) -> tuple[Counter, list[str]]:
    """Rounds over all parsers until the time or the number of inputs is used up; counts by parser and outcome."""
    prepare(folder)
    cell, counts, findings = Cell(folder, patience=30), Counter(), []
    chosen = [p for p in parsers(folder) if only in p.name]
    weights = [1 if p.name.startswith("image") else 4 for p in chosen]
    rng, end, done = random.Random(seed), time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end and done < inputs:
            parser = (
                rng.choices(chosen, weights)[0]
                if inputs > len(chosen) and done >= len(chosen)
                else chosen[done % len(chosen)]
            )
            raw = parser.change(rng.choice(parser.seeds), rng)
            path = folder / parser.file
            path.write_bytes(raw)
            do = rng.choice(parser.do)
            outcome = cell.ask(do, **settings_for(parser, folder, path))
            path.unlink()
            if parser.name == "TorchScript" and outcome.kind in ("died", "hung"):
                outcome = Outcome("ended", outcome.message)  # torch's own loader: what the worker and its clock are for
            done += 1
            counts[parser.name, outcome.kind] += 1
            if done % 10_000 == 0:
                print(f"{done} inputs, {len(findings)} findings", file=sys.stderr, flush=True)
            if is_finding(outcome):
                kept.mkdir(exist_ok=True)
                (kept / f"{parser.name.replace(' ', '-')}-{seed}-{done}").write_bytes(raw)
                findings.append(
                    f"{parser.name} {seed}-{done}: {outcome.kind} {outcome.message[:200]} {outcome.seconds:.1f} s"
                )
    finally:
        cell.close()
    return counts, findings


def is_finding(outcome: Outcome) -> bool:
    said = outcome.kind in ("usage", "judge") and not outcome.refused
    return outcome.kind in BAD or said or outcome.seconds > SLOW


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--inputs", type=int, default=10**9)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default="", help="parsers whose name holds this")
    options.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "bdscan-fuzz", help="for findings")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bdscan-fuzz-") as folder:
        counts, findings = fuzz(Path(folder), given.seed, given.seconds, given.inputs, given.only, given.kept)
    for parser in dict.fromkeys(name for name, _ in counts):
        kinds = {kind: count for (name, kind), count in sorted(counts.items()) if name == parser}
        print(f"{parser:16} {sum(kinds.values()):7}  {kinds}")
    print(f"{sum(counts.values())} inputs, seed {given.seed}, {len(findings)} findings")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
