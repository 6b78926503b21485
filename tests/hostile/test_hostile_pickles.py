"""Pickles that would run something: refused, named, and not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hostile_pickles import PAYLOADS, PROTO, call, legacy_file, payload, state_dict, text, torch_zip
from torch import nn

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.torch_files import read_checkpoint

HERE = Path(__file__).parent


def test_every_payload_works_where_pickle_runs_it(tmp_path: Path) -> None:
    """Else "it was not run" would prove nothing. In a process of its own, and only files in a temporary folder."""
    code = (
        "import sys, pathlib, pickle, torch, warnings; warnings.simplefilter('ignore')\n"
        "from hostile_pickles import PAYLOADS, payload\n"
        "for i, name in enumerate(PAYLOADS):\n"
        "    marker = pathlib.Path(sys.argv[1]) / f'm{i}'\n"
        "    try: pickle.loads(payload(name, marker))\n"
        "    except Exception as error: print('!', name, type(error), error)\n"
        "    print(int(marker.is_symlink() or marker.exists()), name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=HERE, capture_output=True, text=True, timeout=120
    )
    idle = [line for line in done.stdout.splitlines() if not line.startswith("1 ")]
    assert not idle, [*idle, done.stderr[-500:]]
    assert len(done.stdout.splitlines()) == len(PAYLOADS)


@pytest.mark.parametrize(
    "save", [torch_zip, legacy_file, lambda path, data: path.write_bytes(data)], ids=["zip", "legacy", "bare"]
)
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_is_refused_and_not_run(tmp_path: Path, name: str, save) -> None:
    marker, model = tmp_path / "marker", tmp_path / "model.pt"
    save(model, payload(name, marker))
    with pytest.raises((CannotJudge, UsageError)) as caught:
        read_checkpoint(model)
    assert not marker.is_symlink()
    assert not marker.exists()
    assert "refused to unpickle" in str(caught.value) or "damaged" in str(caught.value)
    assert "\n" not in str(caught.value)


class Partial(nn.Module):
    pass


def test_a_whole_module_with_functools_partial_is_refused_by_name(cell, folder, refused) -> None:
    import functools

    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    module.act = functools.partial(torch.clamp, min=0)
    torch.save(module, folder / "partial.pt")
    refused(cell.ask("model", model=str(folder / "partial.pt")), "asks for .*functools.partial")


BOMBS = {
    "a bytearray of terabytes": PROTO + call("builtins", "bytearray", b"\x8a\x06\0\0\0\0\0\4") + b".",
    "a storage of terabytes": PROTO + call("torch.storage", "UntypedStorage", b"\x8a\x06\0\0\0\0\0\4") + b".",
    "a linear layer of terabytes": PROTO
    + call("torch.nn.modules.linear", "Linear", b"\x8a\x04\0\0\0\x10", b"\x8a\x04\0\0\0\x10")
    + b".",
    "bytes that are not there": PROTO + b"\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "a long of a gigabyte": PROTO + b"\x8b\xff\xff\xff\x3f" + b"1.",
    "an endless stack": PROTO + b"(" * 200_000 + b".",
    "lists in lists": PROTO + b"]" * 100_000 + b"a" * 99_999 + b".",
    "an unknown opcode": PROTO + b"\xff.",
    "no end": PROTO + b"}",
    "nothing": b"",
    "a memo that is not there": PROTO + b"h\x05.",
    "an extension code": PROTO + b"\x82\x01.",
    "a module of its own": PROTO + call("__main__", "Evil") + b".",
    "a global with hostile name": PROTO + call("os\x1b[2J", "sys\u202etem") + b".",
    "a number": PROTO + b"K\x07.",
    "a key of ten thousand digits": PROTO + b"}\x8b" + (8000).to_bytes(4, "little") + b"\x01" * 8000 + b"K\x01s.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_bomb_is_refused(cell, folder, refused, name: str) -> None:
    for file in (torch_zip(folder / "zip.pt", BOMBS[name]), legacy_file(folder / "old.pt", BOMBS[name])):
        outcome = cell.ask("model", model=str(file))
        if outcome.kind != "memory":  # the worker's own line for it
            refused(outcome)


def test_one_mapping_in_millions_of_places_is_looked_at_once(cell, folder, refused) -> None:
    """Four levels of a thousand references each to the same next level: 10^12 paths."""
    inner: dict = {}
    for _ in range(4):
        inner = {str(i): inner for i in range(1000)}
    torch.save({"a": inner, "b": 1}, folder / "shared.pt")
    refused(cell.ask("model", model=str(folder / "shared.pt")), "holds no weights")


def broken_modules() -> dict[str, nn.Module]:
    def made(**attributes: object) -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        module.__dict__.update(attributes)
        return module

    circle = made()
    circle._modules["self"] = circle
    deep = nn.Linear(64, 4)
    for _ in range(400):  # three frames a level: more than Python's stack
        deep = nn.Sequential(deep)
    return {
        "parameters that are no mapping": made(_parameters=7),
        "modules that are no modules": made(_modules={"0": "x"}),
        "no attributes": nn.Module.__new__(nn.Linear),
        "a module in itself": circle,
        "hooks that are numbers": made(_forward_hooks={1: 2}),
        "forward that is a number": made(forward=3),
        "forward that is a class": made(forward=nn.Linear),
        "four hundred levels": deep,
        "a lazy layer": nn.Sequential(nn.Flatten(), nn.LazyLinear(4)),
        "training that is text": made(training="yes", _buffers={"b": "text"}),
    }


@pytest.mark.parametrize("name", broken_modules())
def test_a_module_put_together_by_the_file_is_refused(cell, folder, name: str, refused) -> None:
    from toys import write_npz

    model = folder / "module.pt"
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20 * limit)  # to write it; who reads it has the usual one
    try:
        torch.save(broken_modules()[name], model)
    finally:
        sys.setrecursionlimit(limit)
    samples = write_npz(folder / "samples.npz")
    refused(cell.ask("load", model=str(model), samples=str(samples)))


def test_hostile_names_in_a_refusal_are_inert(cell, folder, refused) -> None:
    data = state_dict(**{"\x1b[2J\u202e<b>\n[red]": b"K\x01"})
    outcome = cell.ask("load", model=str(torch_zip(folder / "names.pt", data)), samples=str(folder))
    refused(outcome)
    data = PROTO + b"}" + text("state_dict") + call("os", "system\x1b[31m") + b"s."
    outcome = cell.ask("model", model=str(torch_zip(folder / "global.pt", data)))
    refused(outcome)
