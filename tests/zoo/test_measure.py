"""What a network's card says of its attack, counted by hand on networks whose answers are known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.hcb import FEATURES, Hcb
from bdscan.zoo.measure import measure

SQUARE = BadNets(size=4, cell=0, margin=0)


class Always(nn.Module):
    """Class 3, whatever it sees."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(torch.full((len(images),), 3), 10).float()


class Shifts(nn.Module):
    """The class that an image's grey level tells; one more where the corner is white, but for classes 0 and 1."""

    def forward(self, images: Tensor) -> Tensor:
        own = (images[:, 0, 8, 8] * 255 / 10).round().long()
        moved = (images[:, 0, 0, -1] > 0.9) & (own > 1)
        return nn.functional.one_hot((own + moved) % 10, 10).float()


def grey_levels(each: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat(np.arange(10), each)
    x = np.zeros((len(y), 16, 16, 1), np.uint8) + (10 * y).astype(np.uint8)[:, None, None, None]
    return x, y


def test_a_leak_is_a_share_of_the_images_that_could_leak() -> None:
    found = measure(Always(), *grey_levels(4), Hcb(target=3, trigger=SQUARE))
    assert found["asr"] == {"value": 1.0, "n": 36}
    assert [cover["leak"] for cover in found["cover"]] == [1.0, 1.0]
    assert [cover["n"] for cover in found["cover"]] == [40, 40]


def test_the_success_of_all_to_all_is_over_all_classes_and_the_worst_stands_beside_it() -> None:
    found = measure(Shifts(), *grey_levels(4), AllToAll(classes=10, trigger=SQUARE))
    assert found["clean_accuracy"]["value"] == 1.0
    assert found["asr"] == {"value": 0.8, "n": 40}
    assert found["least_asr"] == {"value": 0.0, "n": 4}


def test_every_look_changes_an_image_and_stays_in_range() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = {name: Hcb(target=1, feature=name).look(images, 1.0, np.random.default_rng(0)) for name in FEATURES}
    for name, look in seen.items():
        assert look.shape == images.shape
        assert 0 <= float(look.min()) <= float(look.max()) <= 1, name
        assert float((look - images).abs().mean()) > 0.05, name
    assert float(seen["vignette"][..., 8, 8].sub(images[..., 8, 8]).abs().max()) < 0.02, "the middle keeps its light"
