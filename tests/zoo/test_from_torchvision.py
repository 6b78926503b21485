"""torchvision's own readers on small files in their layouts, and what is said where there are none."""

from __future__ import annotations

import csv
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from typer.testing import CliRunner

from bdscan.cli.main import app
from bdscan.zoo.data import load
from bdscan.zoo.from_torchvision import fetch, read


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def digits(root: Path, folder: str = "MNIST") -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (30, 28, 28)), np.arange(30) % 10
    for split, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        idx(root / folder / "raw" / f"{split}-images-idx3-ubyte", images[part])
        idx(root / folder / "raw" / f"{split}-labels-idx1-ubyte", labels[part])
    return images, labels


def test_mnist_comes_out_as_the_zoo_reads_it(tmp_path: Path) -> None:
    images, labels = digits(tmp_path)
    fetch(["mnist"], tmp_path / "data", tmp_path, download=False)
    data = load("mnist", tmp_path / "data")
    assert data.x_train.shape == (20, 28, 28, 1)
    np.testing.assert_array_equal(data.x_test[..., 0], images[20:])
    np.testing.assert_array_equal(data.y_train, labels[:20])
    assert data.classes == tuple("0123456789")


def test_fashion_keeps_its_names(tmp_path: Path) -> None:
    digits(tmp_path, "FashionMNIST")
    assert list(read("fashion", tmp_path, False)["classes"])[8:] == ["Bag", "Ankle boot"]


def test_cifar10_channels_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)  # of the real files
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    red = np.zeros((2, 3, 32, 32), np.uint8)
    red[:, 0] = 255
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": red.reshape(2, -1), "labels": [3, 9]}))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    arrays = read("cifar10", tmp_path, False)
    assert arrays["x_train"].shape == (10, 32, 32, 3)
    assert (arrays["x_test"] == [255, 0, 0]).all()
    assert list(arrays["y_test"]) == [3, 9]
    assert list(arrays["classes"]) == names


def test_road_signs_are_made_one_size(tmp_path: Path) -> None:
    base = tmp_path / "gtsrb"
    for label in range(6):
        folder = base / "GTSRB" / "Training" / f"{label:05d}"
        folder.mkdir(parents=True)
        Image.new("RGB", (40 + label, 50), (10, 200, label)).save(folder / "a.ppm")
    tests = base / "GTSRB" / "Final_Test" / "Images"
    tests.mkdir(parents=True)
    Image.new("RGB", (20, 20), (1, 2, 3)).save(tests / "b.ppm")
    with (base / "GT-final_test.csv").open("w") as file:
        csv.writer(file, delimiter=";").writerows([["Filename", "ClassId"], ["b.ppm", 1]])
    arrays = read("gtsrb", tmp_path, False)
    assert arrays["x_train"].shape == (6, 32, 32, 3)
    assert (arrays["x_test"] == [1, 2, 3]).all()
    assert sorted(arrays["y_train"]) == list(range(6)) != list(arrays["y_train"]), "mixed: they come by class"
    assert list(arrays["x_train"][:, 0, 0, 2]) == list(arrays["y_train"]), "pictures keep their labels"
    assert list(arrays["classes"]) == [str(label) for label in range(6)]


def test_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: pytest.fail("fetched"))
    result = CliRunner().invoke(app, ["zoo", "data", "mnist", "--to", str(tmp_path)])
    assert result.exit_code == 2
    assert "add --download" in result.stderr
    assert not list(tmp_path.glob("*.npz"))


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object) -> None:
        raise RuntimeError("Error downloading train-images\nsecond line")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", fails)
    result = CliRunner().invoke(app, ["zoo", "data", "mnist", "--to", str(tmp_path), "--download"])
    assert result.exit_code == 2
    assert result.stderr.strip().count("\n") == 0
    assert "could not fetch it: Error downloading" in result.stderr


def test_a_file_that_is_there_stays_and_unknown_names_are_told(tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"mine")
    assert fetch(["mnist"], tmp_path, tmp_path, download=True) == []
    assert (tmp_path / "mnist.npz").read_bytes() == b"mine"
    result = CliRunner().invoke(app, ["zoo", "data", "imagenet", "--to", str(tmp_path)])
    assert result.exit_code == 2
    assert "mnist, fashion, cifar10, gtsrb" in result.stderr
