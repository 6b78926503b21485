"""The probe finds how a trained network wants its pixels, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import linear, load_toy, quarters, toy, write_npz

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake import load
from bdscan.intake.preprocessing import candidates, parse_override
from bdscan.intake.presented import Mould, Presented
from bdscan.intake.probe import Trial, _ranked
from bdscan.report import Preprocessing
from bdscan.settings import Settings

FACTORY = """
import torch
from torch import nn
from bdscan.zoo.networks import digits_cnn
class Shifted(nn.Module):
    def __init__(self, scale, mean, std):
        super().__init__()
        self.scale, self.mean, self.std, self.inner = scale, mean, std, digits_cnn()
    def forward(self, x):
        return self.inner((x * self.std + self.mean) / self.scale)
"""


@pytest.mark.parametrize("index", range(5))
def test_every_grey_presentation_is_found(fixtures_dir: Path, tmp_path: Path, index: int) -> None:
    """A network trained on 0..1, wrapped so that it wants another presentation; scale and mean must come out."""
    wanted = candidates(1)[index]
    mean, std = (wanted.mean or (0.0,))[0], (wanted.std or (1.0,))[0]
    arch = tmp_path / "shifted.py"
    arch.write_text(FACTORY + f"def build(): return Shifted({wanted.scale}, {mean}, {std})\n")
    state = torch.load(fixtures_dir / "clean-0.pt", weights_only=True)
    torch.save({f"inner.{key}": value for key, value in state.items()}, tmp_path / "weights.pt")
    samples = str(fixtures_dir / "samples.npz")
    settings = Settings(model=f"{tmp_path}/weights.pt", samples=samples, arch=f"{arch}:build", device="cpu")
    found = load(settings).subject.preprocessing
    assert (found.name, found.scale, found.mean) == (wanted.name, wanted.scale, wanted.mean)
    assert found.source == "probe"
    assert found.runner_up != found.name
    assert found.runner_up_accuracy is not None


def test_presented_pixels_are_those_of_the_formula() -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(scale=255.0, mean=(1, 2, 3), std=(4, 5, 6), channel_order="BGR", layout="NHWC")
    seen = Presented(torch.nn.Identity(), preprocessing, Mould((3, 4, 5))).present(images)
    mean, std = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    expected = ((images.flip(1) * 255).permute(0, 2, 3, 1) - mean) / std
    torch.testing.assert_close(seen, expected)


def test_channel_order(tmp_path: Path) -> None:
    """Classes told apart by colour alone: red things and blue things."""
    x, y = quarters(channels=3)
    y = y % 2
    x[:] = 30
    x[:, 0, 0, 1] = range(len(x))  # copies of one image a class are refused
    x[y == 0, :, :, 0] = 200
    x[y == 1, :, :, 2] = 200
    samples = str(write_npz(tmp_path / "colours.npz", x=x, y=y))
    blue_first = toy(channels=3, classes=2)
    weight = torch.zeros(2, 3, 64)
    weight[0, 2], weight[1, 0] = 0.1, 0.1
    blue_first[1].weight.data = weight.flatten(1)
    torch.save(blue_first, tmp_path / "bgr.pt")
    found = load_toy(tmp_path, tmp_path / "bgr.pt", samples=samples).subject.preprocessing
    assert found.channel_order == "BGR"
    with pytest.raises(CannotJudge, match="the given preprocessing"):
        load_toy(tmp_path, tmp_path / "bgr.pt", samples=samples, preprocessing="order=RGB")


def test_override(tmp_path: Path) -> None:
    given = load_toy(tmp_path, preprocessing="mean=0.1 std=0.3 scale=2").subject.preprocessing
    assert (given.source, given.scale, given.mean, given.std) == ("given", 2.0, (0.1,), (0.3,))
    assert parse_override("size=32x48").size == (32, 48)
    assert parse_override(None) == parse_override("")
    with pytest.raises(CannotJudge, match="do not fit a model of 1 channels"):
        load_toy(tmp_path, preprocessing="mean=0.1,0.2,0.3")


def test_a_size_other_than_the_samples(tmp_path: Path) -> None:
    torch.save(toy(size=32), tmp_path / "large.pt")
    intake = load_toy(tmp_path, tmp_path / "large.pt")
    assert intake.subject.input_shape == (1, 32, 32)
    with pytest.raises(CannotJudge, match="runs on no usual image size"):
        load_toy(tmp_path, tmp_path / "large.pt", preprocessing="size=16x16")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_half_precision_that_takes_no_float32_is_said_as_such(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(toy().half()), tmp_path / "half.ts")
    with pytest.raises(CannotJudge, match=r"weights are float16 .* save it with model.float\(\)"):
        load_toy(tmp_path, tmp_path / "half.ts")


def test_reference(tmp_path: Path) -> None:
    torch.save(toy(size=16, gain=3.0), tmp_path / "reference.pt")
    intake = load_toy(tmp_path, reference=str(tmp_path / "reference.pt"))
    reference = intake.scannable.reference
    assert reference is not None
    assert [file.role for file in intake.subject.files] == ["model", "reference"]
    images, labels = intake.scannable.samples.part(intake.scannable.samples.search)
    assert bool((reference(images).argmax(1) == labels).all())
    assert intake.subject.digest == load_toy(tmp_path).subject.digest
    torch.save(toy(classes=5), tmp_path / "five.pt")
    with pytest.raises(UsageError, match=r"--reference .* 5 classes but the model has 4"):
        load_toy(tmp_path, reference=str(tmp_path / "five.pt"))
    shuffled = toy()
    shuffled[1].weight.data = linear().weight.data.roll(1, 0)
    torch.save(shuffled, tmp_path / "shuffled.pt")
    with pytest.raises(UsageError, match=r"--reference .* near chance"):
        load_toy(tmp_path, reference=str(tmp_path / "shuffled.pt"))


def test_the_same_twice(fixtures_dir: Path) -> None:
    settings = Settings(model=f"{fixtures_dir}/warp.pt", samples=f"{fixtures_dir}/samples.npz", device="cpu", seed=3)
    first, second = load(settings), load(settings)
    assert first.subject == second.subject
    assert first.samples == second.samples
    assert torch.equal(first.scannable.samples.search, second.scannable.samples.search)


@pytest.mark.parametrize(
    "plain, other, winner",
    [
        ((1.0, -0.01), (1.0, 0.0), "0..1"),
        ((1.0, -0.2), (1.0, 0.0), "0..255"),
        ((0.99, -0.02), (1.0, -0.01), "0..1"),
        ((0.97, -0.02), (1.0, -0.01), "0..255"),
        ((0.5, -0.02), (0.9, -0.01), "0..255"),
    ],
)
def test_larger_pixels_do_not_win_by_a_hair(
    plain: tuple[float, float], other: tuple[float, float], winner: str
) -> None:
    """Accuracy and fit of 0..1 and 0..255 on 100 images: a network that is right anyway is only surer on large ones."""
    items = {item.name: item for item in candidates(1)}
    trials = [
        Trial(items[name], Mould((1, 8, 8)), *figures, 100) for name, figures in (("0..1", plain), ("0..255", other))
    ]
    assert _ranked(trials)[0].preprocessing.name == winner
    assert len(_ranked(trials)) == len(trials)
