"""Folders, arrays, names, sizes, colours, and the split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import load_toy, quarters, toy, write_npz

from bdscan.errors import UsageError
from bdscan.intake.raw_samples import RawSamples, class_cap
from bdscan.intake.samples import read_samples, split_samples


def _folder(place: Path, names: list[str], suffix: str = "png", **options: int) -> Path:
    x, y = quarters(**options)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = place / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(folder / f"{number}.{suffix}")
    return place


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "jpg"])
def test_integer_names_are_indices(tmp_path: Path, suffix: str) -> None:
    samples = _folder(tmp_path / "s", ["0", "01", "2", "3"], suffix)
    intake = load_toy(tmp_path, samples=str(samples))
    assert intake.subject.clean_accuracy == 1
    assert intake.samples.per_class == (6, 6, 6, 6)


def test_ten_comes_after_nine(tmp_path: Path) -> None:
    samples = _folder(tmp_path / "s", ["8", "9", "10", "11"])
    wide = toy(classes=12)
    wide[1].weight.data = wide[1].weight.data.roll(8, 0)
    torch.save(wide, tmp_path / "wide.pt")
    intake = load_toy(tmp_path, tmp_path / "wide.pt", samples=str(samples))
    assert intake.samples.per_class == (0,) * 8 + (6,) * 4
    assert any("no images of 8 of the 12 classes" in note for note in intake.samples.notes)


def test_words_need_all_classes_or_a_labels_file(tmp_path: Path) -> None:
    sorted_words = _folder(tmp_path / "s", ["ant", "bee", "cow", "dog"])
    intake = load_toy(tmp_path, samples=str(sorted_words))
    assert [label.name for label in intake.subject.classes] == ["ant", "bee", "cow", "dog"]

    unsorted = ["dog", "ant", "cow", "bee"]
    samples = _folder(tmp_path / "u", unsorted)
    (tmp_path / "labels.txt").write_text("\n".join(unsorted) + "\n")
    (tmp_path / "list.json").write_text(json.dumps(unsorted))
    (tmp_path / "index.json").write_text(json.dumps({str(i): ["n0", name] for i, name in enumerate(unsorted)}))
    (tmp_path / "name.json").write_text(json.dumps({name: i for i, name in enumerate(unsorted)}))
    for file in ("labels.txt", "list.json", "index.json", "name.json"):
        intake = load_toy(tmp_path, samples=str(samples), labels=str(tmp_path / file))
        assert [label.name for label in intake.subject.classes] == unsorted
        assert intake.subject.clean_accuracy == 1
        assert intake.subject.files[-1].role == "labels"

    for image in (samples / "cow").iterdir():
        image.unlink()
    with pytest.raises(UsageError, match=r"3 class folders named by words.*--labels"):
        load_toy(tmp_path, samples=str(samples))
    intake = load_toy(tmp_path, samples=str(samples), labels=str(tmp_path / "labels.txt"))
    assert intake.samples.per_class == (6, 6, 0, 6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\nb\n", "labels file has 2 classes"),
        ("a\na\nb\nc", "each once"),
        ("[1", "not valid JSON"),
        ("{}", "from 0 on"),
    ],
)
def test_labels_files_that_do_not_fit(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "labels").write_text(content)
    with pytest.raises(UsageError, match=words):
        load_toy(tmp_path, samples=str(_folder(tmp_path / "s", ["a", "b", "c", "d"])), labels=str(tmp_path / "labels"))


def test_size_and_colour_follow_the_model(tmp_path: Path) -> None:
    x, y = quarters(size=24, channels=3)
    intake = load_toy(tmp_path, samples=str(write_npz(tmp_path / "large.npz", x=x, y=y)))
    assert intake.subject.input_shape == (1, 8, 8)
    assert intake.scannable.samples.images.shape == (24, 1, 8, 8)
    assert "images of 24x24 resized to the model's 8x8" in intake.samples.notes
    assert "colour images converted to grey" in intake.samples.notes

    torch.save(toy(channels=3), tmp_path / "colour.pt")
    intake = load_toy(tmp_path, tmp_path / "colour.pt")
    assert "grey images given to a colour model" in intake.samples.notes
    assert intake.subject.clean_accuracy == 1


def test_resizing_is_that_of_pillow(tmp_path: Path) -> None:
    """Antialiased bilinear, as training pipelines resize: within rounding of Pillow's."""
    x, y = quarters(size=30)
    raw = read_samples(str(write_npz(tmp_path / "s.npz", x=x, y=y)), 0)
    ours = split_samples(raw, y.tolist(), (1, 8, 8), 0).images.numpy().astype(int)
    pillow = [np.array(Image.fromarray(image[:, :, 0]).resize((8, 8), Image.Resampling.BILINEAR)) for image in x]
    assert np.abs(ours[:, 0] - np.array(pillow).astype(int)).max() <= 1


def test_two_images_a_class_and_unbalanced_classes(tmp_path: Path) -> None:
    x, y = quarters(per_class=9)
    keep = np.concatenate([np.flatnonzero(y == 0)[:2], np.flatnonzero(y == 1), np.flatnonzero(y == 2)[:3], [27]])
    intake = load_toy(tmp_path, samples=str(write_npz(tmp_path / "few.npz", x=x[keep], y=y[keep])))
    samples = intake.scannable.samples
    assert intake.samples.per_class == (2, 9, 3, 1)
    assert torch.bincount(samples.labels[samples.search]).tolist() == [1, 5, 2, 1]
    assert torch.bincount(samples.labels[samples.held_out], minlength=4).tolist() == [1, 4, 1, 0]
    assert not set(samples.search.tolist()) & set(samples.held_out.tolist())
    assert any("1 classes have one image only" in note for note in intake.samples.notes)
    assert any("only 15 images" in note for note in intake.subject.notes)


def _raw(x: np.ndarray, y: np.ndarray) -> RawSamples:
    return RawSamples(tuple(x), tuple(str(label) for label in y), None, False)


def test_copies_of_an_image_lie_in_one_half(tmp_path: Path) -> None:
    """As the model is shown them: a coloured one may be a grey one's copy too."""
    x, y = quarters(per_class=10)
    x[1:4] = x[0]  # four of class 0 alike
    x[12:20] = x[11]  # class 1: two different ones, one of them nine times
    x[21:30] = x[20]  # class 2: one image, ten times
    x[35] = x[5]  # of another class: no copy
    raw = _raw(x, y)
    coloured = tuple(image.repeat(3, 2) if place == 2 else image for place, image in enumerate(x))
    for seed in range(20):
        for given in (raw, replace(raw, images=coloured)):
            samples = split_samples(given, y.tolist(), (1, 8, 8), seed)
            parts = [{(int(y[i]), x[i].tobytes()) for i in half} for half in (samples.search, samples.held_out)]
            assert not parts[0] & parts[1]
            assert sorted(torch.cat([samples.search, samples.held_out]).tolist()) == list(range(40))
            different = [[sum(label == k for label, _ in part) for k in range(4)] for part in parts]
            assert different == [[4, 1, 1, 5], [3, 1, 0, 5]]
    intake = load_toy(tmp_path, samples=str(write_npz(tmp_path / "s.npz", x=x, y=y)))
    assert any("pixel for pixel: 20; copies are never in both halves" in note for note in intake.samples.notes)
    assert any("1 classes have one image only" in note for note in intake.samples.notes)
    with pytest.raises(UsageError, match="copies of one image only; give at least two"):
        split_samples(_raw(x[20:30], y[5:15]), y[5:15].tolist(), (1, 8, 8), 0)


def test_without_copies_the_halves_are_the_seed_s() -> None:
    """The order of each class is drawn and cut in the middle: measured tables rest on it."""
    x, y = quarters(per_class=5)
    drawn = {seed: split_samples(_raw(x, y), y.tolist(), (1, 8, 8), seed) for seed in (0, 7)}
    assert {seed: samples.held_out.tolist() for seed, samples in drawn.items()} == {
        0: [0, 1, 5, 8, 11, 14, 16, 19],
        7: [1, 3, 7, 8, 10, 11, 16, 19],
    }
    assert not any("copies" in note for samples in drawn.values() for note in samples.notes)
    for seed in range(10):
        labels = np.random.default_rng((seed, 1)).integers(0, 4, len(y))
        rng, held_out = np.random.default_rng(seed), []
        for label in sorted(set(labels.tolist())):
            order = rng.permutation(np.flatnonzero(labels == label)).tolist()
            held_out += order[(len(order) + 1) // 2 :]
        samples = split_samples(_raw(x, labels), labels.tolist(), (1, 8, 8), seed)
        assert samples.held_out.tolist() == sorted(held_out)
        assert samples.search.tolist() == sorted(set(range(len(y))) - set(held_out))


def test_many_images_are_drawn_by_the_seed(tmp_path: Path) -> None:
    assert [class_cap(k) for k in (2, 4, 10, 43, 100, 1000, 5000)] == [100, 50, 20, 20, 20, 2, 2]
    x, y = quarters(per_class=60)
    path = str(write_npz(tmp_path / "many.npz", x=x, y=y))
    first, again, other = (read_samples(path, seed) for seed in (0, 0, 1))
    assert len(first.images) == 200
    assert all(np.array_equal(a, b) for a, b in zip(first.images, again.images, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first.images, other.images, strict=True))


def test_pictures_of_every_mode(tmp_path: Path) -> None:
    samples = _folder(tmp_path / "s", ["0", "1", "2", "3"], channels=3)
    for mode in ("RGBA", "P", "L", "1", "CMYK"):
        suffix = "tif" if mode == "CMYK" else "png"
        Image.open(samples / "0" / "0.png").convert(mode).save(samples / "0" / f"mode-{mode}.{suffix}")
    depth = np.array(Image.open(samples / "0" / "0.png").convert("L")).astype(np.uint16) * 257
    Image.fromarray(depth).save(samples / "0" / "deep.png")
    height, width = depth.shape
    (samples / "0" / "deep.pgm").write_bytes(b"P5 %d %d 65535\n" % (width, height) + depth.astype(">u2").tobytes())
    raw = read_samples(str(samples), 0)
    assert len(raw.images) == 24 + 7
    assert all(image.dtype == np.uint8 and image.shape[:2] == (8, 8) for image in raw.images)
    grey = [image for image in raw.images if image.shape[2] == 1]
    assert sum(np.array_equal(image[..., 0], depth // 257) for image in grey) >= 2, "sixteen bits are not cut off"


def test_pictures_of_fractions_are_refused(tmp_path: Path) -> None:
    samples = _folder(tmp_path / "s", ["0", "1", "2", "3"])
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(samples / "0" / "float.tif")
    with pytest.raises(UsageError, match="save it with 8 bits"):
        read_samples(str(samples), 0)


def test_pictures_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = _folder(tmp_path / "s", ["0", "1", "2", "3"])
    (samples / "0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UsageError, match=r"broken.png: cannot be decoded"):
        read_samples(str(samples), 0)
    (samples / "0" / "broken.png").unlink()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(UsageError, match="cannot be decoded"):
        read_samples(str(samples), 0)
