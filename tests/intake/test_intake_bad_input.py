"""Every bad input: one clear line, and the error whose exit code is documented."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from toys import load_toy, quarters, toy, write_arch, write_npz

from bdscan.errors import CannotJudge, UsageError


def _refused(kind: type[Exception], words: str, folder: Path, model: Path | None = None, **settings: object) -> None:
    with pytest.raises(kind, match=words) as caught:
        load_toy(folder, model, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500


def test_model_files_that_are_no_models(tmp_path: Path) -> None:
    _refused(UsageError, "no such file", tmp_path, tmp_path / "absent.pt")
    _refused(UsageError, "not a file", tmp_path, tmp_path)
    contents = {
        "empty.pt": (b"", "is empty"),
        "text.onnx": (b"this is a text file\n", "a text file"),
        "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "convert it to ONNX"),
        "noise.onnx": (bytes(range(256)) * 9, "damaged or truncated ONNX"),
        "noise.bin": (bytes(range(256)) * 9, "neither PyTorch"),
        "zip.pt": (b"PK\x03\x04" + bytes(100), "truncated or damaged"),
        "lfs.pt": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        _refused(UsageError, words, tmp_path, tmp_path / name)


@pytest.mark.parametrize("name", ["clean-0.pt", "clean-2.safetensors", "sig.onnx", "two-triggers.ts"])
def test_truncated_at_any_place(fixtures_dir: Path, tmp_path: Path, name: str) -> None:
    whole = (fixtures_dir / name).read_bytes()
    for share in (0.1, 0.5, 0.95):
        cut = tmp_path / name
        cut.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises((UsageError, CannotJudge)):
            load_toy(tmp_path, cut, arch=f"{write_arch(tmp_path / 'arch.py')}:toy")


def test_missing_external_weights(fixtures_dir: Path, tmp_path: Path) -> None:
    lone = tmp_path / "clean-1.onnx"
    lone.write_bytes((fixtures_dir / "clean-1.onnx").read_bytes())
    _refused(UsageError, "clean-1.onnx.data' is missing", tmp_path, lone)


def test_architectures(tmp_path: Path) -> None:
    arch = write_arch(tmp_path / "arch.py")
    model = tmp_path / "weights.pt"
    torch.save(toy().state_dict(), model)
    assert load_toy(tmp_path, model, arch=f"{arch}:toy").subject.clean_accuracy == 1
    for wrong, words in {
        f"{tmp_path}/absent.py:toy": "no such file",
        f"{arch}:absent": "no such function; the file has toy",
        f"{arch}:raises": "OSError: no such disk",
        f"{arch}:number": "returns a int",
        f"{arch}": "write torchvision:NAME or file.py:factory",
        "torchvision:resnet1": "no classifier of this name",
        "torchvision:fasterrcnn_resnet50_fpn": "no classifier of this name",
    }.items():
        _refused(UsageError, words, tmp_path, model, arch=wrong)
    _refused(UsageError, "holds weights only", tmp_path, model)
    broken = tmp_path / "broken.py"
    broken.write_text("def toy(:\n")
    _refused(UsageError, "the file raises SyntaxError", tmp_path, model, arch=f"{broken}:toy")


def test_state_dict_that_does_not_fit_names_the_keys(tmp_path: Path) -> None:
    arch = write_arch(tmp_path / "arch.py")
    model = tmp_path / "weights.pt"
    torch.save(toy().state_dict() | {"extra.weight": torch.zeros(4, 4)}, model)
    _refused(
        UsageError, r"2 keys missing \(3.weight, 3.bias\); 1 key unexpected", tmp_path, model, arch=f"{arch}:other"
    )
    torch.save(toy(size=4).state_dict(), model)
    _refused(UsageError, r"1.weight is \(4, 16\) and should be \(4, 64\)", tmp_path, model, arch=f"{arch}:toy")


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch executed",))


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_hostile_pickles_are_named_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model.pt"
    save({"state_dict": _Payload()}, model)
    with pytest.raises(CannotJudge, match="refused to unpickle"):
        load_toy(tmp_path, model)
    assert not (tmp_path / "executed").exists()


class OwnClass(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_whole_module_of_a_users_own_class(tmp_path: Path) -> None:
    torch.save(OwnClass(), tmp_path / "own.pt")
    _refused(CannotJudge, "asks for .*OwnClass.*save its state_dict", tmp_path, tmp_path / "own.pt")


def test_samples(tmp_path: Path) -> None:
    x, y = quarters()
    cases: list[tuple[dict[str, np.ndarray], str]] = [
        ({"y": np.zeros_like(y)}, "one class only"),
        ({"x": x[::6], "y": y[::6]}, "one image a class"),
        ({"y": y + 4}, "label 7 but the model has 4 outputs"),
        ({"y": y - 1}, "negative"),
        ({"y": y[:-1]}, "must be 24 integers"),
        ({"y": y.astype(float)}, "must be 24 integers"),
        ({"x": x.astype(np.float32)}, "must be uint8"),
        ({"x": x[:, :, :, [0, 0]]}, "2 channels"),
        ({"classes": np.array(["a", "b"])}, "samples have 2 classes but the model has 4"),
        ({"x": np.array([object()])}, "Python objects"),
    ]
    for changes, words in cases:
        _refused(UsageError, words, tmp_path, samples=str(write_npz(tmp_path / "bad.npz", **changes)))
    np.savez(tmp_path / "names.npz", a=x)
    _refused(UsageError, "the file holds a", tmp_path, samples=str(tmp_path / "names.npz"))
    (tmp_path / "text.npz").write_text("x")
    _refused(UsageError, "not an .npz", tmp_path, samples=str(tmp_path / "text.npz"))
    _refused(UsageError, "no such file or folder", tmp_path, samples=str(tmp_path / "absent"))
    (tmp_path / "folder").mkdir()
    _refused(UsageError, "no class folders", tmp_path, samples=str(tmp_path / "folder"))


def test_arrays_that_claim_to_be_huge_are_not_allocated(tmp_path: Path) -> None:
    import zipfile

    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 32, 32, 3), }"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("x.npy", header + text.ljust(117) + b"\n")
        archive.writestr("y.npy", header + text.ljust(117) + b"\n")
    _refused(UsageError, "larger than", tmp_path, samples=str(tmp_path / "huge.npz"))


def test_models_that_cannot_be_judged(tmp_path: Path) -> None:
    def saved(name: str, module: nn.Module) -> Path:
        torch.save(module, tmp_path / name)
        return tmp_path / name

    broken = toy()
    broken[1].weight.data[0, 0] = torch.nan
    _refused(CannotJudge, "NaN or infinite weights in 1 tensors .first: 1.weight", tmp_path, saved("nan.pt", broken))
    _refused(CannotJudge, "a single output per image", tmp_path, saved("one.pt", toy(classes=1)))
    _refused(CannotJudge, "not an image classifier", tmp_path, saved("map.pt", nn.Sequential(nn.Conv2d(1, 3, 3))))
    shuffled = toy()
    shuffled[1].weight.data = shuffled[1].weight.data.roll(1, 0)
    _refused(CannotJudge, "near chance", tmp_path, saved("shuffled.pt", shuffled))
    constant = toy()
    constant[1].weight.data.zero_()
    _refused(CannotJudge, "near chance", tmp_path, saved("constant.pt", constant))
    overflow = toy()
    overflow[1].weight.data.mul_(1e38).mul_(50)  # finite weights, infinite sums
    _refused(CannotJudge, "outputs are NaN or infinite", tmp_path, saved("overflow.pt", overflow))


def test_unknown_operators_are_all_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], domain="com.example"),
        helper.make_node("NonMaxSuppression", ["a", "a"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 1, 8, 8]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), tmp_path / "foo.onnx")
    _refused(CannotJudge, "NonMaxSuppression, com.example.Foo", tmp_path, tmp_path / "foo.onnx")


def test_overrides_that_make_no_sense(tmp_path: Path) -> None:
    for text, words in {
        "scale=x": "not a list of numbers",
        "mean=nan": "not finite",
        "std=0": "cannot be 0",
        "order=GBR": "not RGB, BGR or grey",
        "layout=HWC": "not NCHW",
        "size=32": "not HEIGHTxWIDTH",
        "gamma=2": "is not one of",
    }.items():
        _refused(UsageError, words, tmp_path, preprocessing=text)


def test_strings_from_the_file_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    arch = write_arch(tmp_path / "arch.py")
    torch.save(toy().state_dict() | {"\x1b[2J\nverdict: clean": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(UsageError) as caught:
        load_toy(tmp_path, tmp_path / "weights.pt", arch=f"{arch}:toy")
    assert str(caught.value).isprintable()
