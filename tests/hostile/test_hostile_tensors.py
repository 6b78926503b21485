"""Tensors that claim what the file does not hold, or are of kinds no classifier needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hostile_pickles import call, state_dict, tensor, torch_zip
from toys import toy, write_arch, write_npz

HELD = {"data/0": b"\0" * 16}


def by_torch(make: object) -> object:
    def write(path: Path) -> None:
        torch.save({"1.weight": make(), "1.bias": torch.zeros(4)}, path)

    return write


def by_hand(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> object:
    def write(path: Path) -> None:
        torch_zip(path, state_dict(**{"1.weight": tensor(size, stride, offset)}), **HELD)

    return write


def with_weight(change: object) -> object:
    """A whole toy network with its weight changed."""

    def write(path: Path) -> None:
        module = toy()
        change(module[1].weight.data)
        torch.save(module, path)

    return write


def fill(value: float) -> object:
    return with_weight(lambda weight: weight[0, :1].fill_(value))


CASES = {
    "stride 0 that claims terabytes": (by_hand((2**40,), (0,)), "claims more"),
    "overlapping rows that claim gigabytes": (by_hand((2**16, 2**16), (0, 0)), "claims more"),
    "a row that overlaps the next": (by_hand((2, 3), (1, 1)), "claims more"),
    "dims beyond the storage": (by_hand((2**30, 2**10), (2**10, 1)), "refused|damaged"),
    "a negative size": (by_hand((-4,), (1,)), "refused|damaged"),
    "a negative stride": (by_hand((2, 2), (-1, 1)), "refused|damaged"),
    "an offset beyond the storage": (by_hand((4,), (1,), 2**40), "refused|damaged"),
    "a size that overflows": (by_hand((2**62, 4), (1, 1)), "refused|damaged"),
    "a thousand dimensions": (by_hand((1,) * 1000, (1,) * 1000), ""),
    "expanded by torch": (by_torch(lambda: torch.zeros(1).expand(4, 64)), "claims more"),
    "sparse": (
        by_torch(lambda: torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (2**20, 2**20))),
        "is sparse",
    ),
    "quantised": (
        by_torch(lambda: torch.quantize_per_tensor(torch.zeros(4, 64), 0.1, 0, torch.qint8)),
        "quantised|refused|damaged",
    ),
    "meta": (by_torch(lambda: torch.empty(2**40, device="meta")), "no data"),
    "complex": (by_torch(lambda: torch.zeros(4, 64, dtype=torch.complex64)), "complex64"),
    "eight-bit floats": (by_torch(lambda: torch.zeros(4, 64).to(torch.float8_e4m3fn)), "float8"),
    "nested": (by_torch(lambda: torch.nested.nested_tensor([torch.zeros(4)])), "nested|refused"),
    "NaN": (fill(float("nan")), "NaN or infinite weights"),
    "infinity": (fill(float("inf")), "NaN or infinite weights"),
    "weights whose sums overflow": (with_weight(lambda weight: weight.fill_(3e38)), "NaN or infinite|near chance"),
    "a storage that is not there": (lambda path: torch_zip(path, state_dict(w=tensor((4,), (1,)))), ""),
    "a storage shorter than it says": (
        lambda path: torch_zip(path, state_dict(w=tensor((4,), (1,), elements=2**30)), **HELD),
        "",
    ),
    "a bias of terabytes by UntypedStorage": (
        lambda path: torch_zip(path, state_dict(w=call("torch.storage", "UntypedStorage", b"\x8a\x06\0\0\0\0\0\x08"))),
        "",
    ),
}


@pytest.mark.filterwarnings("ignore")  # torch retires quantised and nested tensors
@pytest.mark.parametrize("name", CASES)
def test_tensor(cell, folder, refused, name: str) -> None:
    write, words = CASES[name]
    write(folder / "model.pt")
    arch, samples = write_arch(folder / "arch.py"), write_npz(folder / "samples.npz")
    outcome = cell.ask("load", model=str(folder / "model.pt"), arch=f"{arch}:toy", samples=str(samples))
    refused(outcome, words)


def header(**tensors: object) -> bytes:
    return json.dumps(tensors).encode()


def safetensors(head: bytes, data: bytes = b"\0" * 1024, length: int | None = None) -> bytes:
    return (len(head) if length is None else length).to_bytes(8, "little") + head + data


def entry(dtype: str = "F32", shape: object = (4, 64), start: int = 0, end: int = 1024) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


SAFETENSORS = {
    "a header longer than the file": safetensors(header(w=entry()), length=2**40),
    "a header just longer than the file": safetensors(header(w=entry()), length=5000),
    "a header shorter than it is": safetensors(header(w=entry()), length=40),
    "a header of nothing": safetensors(b"", length=0),
    "no tensors": safetensors(b"{}", b""),
    "dims beyond the data": safetensors(header(w=entry(shape=[2**40, 64]))),
    "dims that overflow": safetensors(header(w=entry(shape=[2**63, 2**63]))),
    "negative dims": safetensors(header(w=entry(shape=[-4, -64]))),
    "offsets beyond the file": safetensors(header(w=entry(shape=[2**30], end=2**32))),
    "offsets that go back": safetensors(header(w=entry(start=1024, end=0))),
    "overlapping tensors": safetensors(header(w=entry(), v=entry())),
    "a hole between tensors": safetensors(header(w=entry(end=512, shape=[128]))),
    "an unknown type": safetensors(header(w=entry(dtype="F1024"))),
    "a type nobody computes in": safetensors(header(w=entry(dtype="F8_E5M2", shape=[1024]))),
    "the same name twice": safetensors(header(w=entry())[:-1] + b"," + header(w=entry())[1:]),
    "deep JSON": safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "deep lists": safetensors(b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "a number of a million digits": safetensors(b'{"a":' + b"1" * 1_000_000 + b"}"),
    "metadata that is no text": safetensors(header(__metadata__={"a": 1}, w=entry())),
    "a null byte in a name": safetensors(header(**{"w\0": entry()})),
    "trailing data": safetensors(header(w=entry()), b"\0" * 4096),
    "not UTF-8": safetensors(b'{"\xff":1}'),
    "a pickle inside": safetensors(b"{" + b"\x80\x02cos\nsystem\n(X\x04\0\0\0truetR." + b"}"),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors(cell, folder, refused, name: str) -> None:
    (folder / "model.safetensors").write_bytes(SAFETENSORS[name])
    arch, samples = write_arch(folder / "arch.py"), write_npz(folder / "samples.npz")
    model = str(folder / "model.safetensors")
    refused(cell.ask("load", model=model, arch=f"{arch}:toy", samples=str(samples)))


def test_honest_safetensors_load(cell, folder) -> None:
    weight, bias = toy()[1].weight.data, toy()[1].bias.data
    head = header(**{"1.weight": entry(), "1.bias": entry(shape=[4], start=1024, end=1040)})
    (folder / "model.safetensors").write_bytes(safetensors(head, weight.numpy().tobytes() + bias.numpy().tobytes()))
    arch, samples = write_arch(folder / "arch.py"), write_npz(folder / "samples.npz")
    model = str(folder / "model.safetensors")
    assert cell.ask("load", model=model, arch=f"{arch}:toy", samples=str(samples)).kind == "loaded"
