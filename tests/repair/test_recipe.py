"""A repair's recipe follows the network: its layers, and whether mirror images are the same to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bdscan.intake.classifier import Scannable
from bdscan.repair.planted import Planted
from bdscan.repair.recipe import HELD, HELD_FEW, LAYERS, SOFT, Recipe, fitted, varied
from bdscan.repair.student import student_of


def pictures(count: int = 12) -> Tensor:
    return torch.rand(count, 1, 10, 10, generator=torch.Generator().manual_seed(0))


def test_varied_images_stay_in_range_and_differ() -> None:
    out = varied(pictures(), Recipe(), torch.Generator().manual_seed(1))
    assert out.shape == pictures().shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert not torch.equal(out, pictures())


def test_half_the_images_are_mirrored_where_that_is_allowed() -> None:
    """Bright on the left: mirrored images have their light on the right, mixed ones are left out."""
    images = torch.zeros(400, 1, 10, 10)
    images[..., :3] = 1.0

    def right(mirror: bool) -> float:
        out = varied(images, Recipe(mirror=mirror), torch.Generator().manual_seed(1))
        sides = torch.stack([out[..., 0].mean((1, 2)), out[..., -1].mean((1, 2))])
        clear = sides.amin(0) == 0
        return float((sides[1] > 0)[clear].float().mean())

    assert right(False) == 0
    assert right(True) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("look", "mirror"), [(lambda x: x.mean(3), True), (lambda x: x[..., :4].mean(3) - x[..., -4:].mean(3), False)]
)
def test_it_mirrors_where_the_network_keeps_its_answers(
    badnets: Scannable, look: Callable[[Tensor], Tensor], mirror: bool
) -> None:
    judged = replace(
        badnets.classifier, forward=lambda x: torch.cat([look(x).sum((1, 2))[:, None] - 0.3, x[:, 0, :1, 0]], 1)
    )
    assert fitted(Recipe(), judged, student_of(badnets.classifier), pictures()).mirror is mirror


def nothing(images: Tensor, intensity: float) -> Tensor:
    return images


@pytest.mark.parametrize(
    ("layers", "triggers", "softened"),
    [
        (LAYERS, [Planted(0, (), "sparse", nothing)], False),
        (LAYERS + 1, [Planted(0, (), "sparse", nothing)], True),
        (LAYERS + 1, [Planted(0, (), "sparse", nothing), Planted(1, (), "warp", nothing)], False),
        (LAYERS + 1, [Planted(0, (), "sparse", nothing), Planted(1, (), "warp", nothing, hidden=True)], True),
    ],
)
def test_deep_networks_are_held_by_softened_answers_unless_a_warp_alarmed(
    badnets: Scannable, layers: int, triggers: list[Planted], softened: bool
) -> None:
    student = student_of(badnets.classifier)
    deep = replace(student, weights=tuple(nn.Parameter(torch.zeros(2, 2)) for _ in range(layers)))
    recipe = fitted(Recipe(), badnets.classifier, deep, pictures(), triggers)
    assert recipe.temperature == (SOFT if softened else 1.0)


@pytest.mark.parametrize(
    ("layers", "families", "held"),
    [
        (LAYERS + 1, ("sparse",), HELD),
        (LAYERS, ("tone", "dense"), HELD_FEW),
        (LAYERS + 1, ("sparse", "wave"), 0.0),
        (LAYERS, ("warp",), 0.0),
    ],
)
def test_layers_are_held_unless_a_trigger_that_inversion_only_nears_alarmed(
    badnets: Scannable, layers: int, families: tuple[str, ...], held: float
) -> None:
    triggers = [Planted(0, (), family, nothing) for family in families]
    weights = tuple(nn.Parameter(torch.zeros(2, 2)) for _ in range(layers))
    student = replace(student_of(badnets.classifier), weights=weights)
    beside = Planted(1, (), "wave", nothing, hidden=True)
    assert fitted(Recipe(), badnets.classifier, student, pictures(), [*triggers, beside]).layers == held


def test_deep_networks_are_trained_in_smaller_steps(badnets: Scannable) -> None:
    student = student_of(badnets.classifier)

    def rate(layers: int) -> float:
        deep = tuple(nn.Parameter(torch.zeros(2, 2)) for _ in range(layers))
        return fitted(Recipe(), badnets.classifier, replace(student, weights=deep), pictures()).learning_rate

    usual = Recipe().learning_rate
    assert [rate(n) / usual for n in (1, LAYERS, 4 * LAYERS)] == pytest.approx([1.0, 1.0, 0.25])
