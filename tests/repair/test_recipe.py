"""A repair's recipe follows the network: its layers, and whether mirror images are the same to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bdscan.intake.classifier import Scannable
from bdscan.repair.planted import Planted
from bdscan.repair.recipe import HELD, HELD_FEW, LAYERS, PATCHES, SOFT, Recipe, fitted
from bdscan.repair.sharpen import MOST
from bdscan.repair.student import Student, student_of


def pictures(count: int = 12) -> Tensor:
    return torch.rand(count, 1, 10, 10, generator=torch.Generator().manual_seed(0))


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


def layered(subject: Scannable, layers: int) -> Student:
    """A student with as many layers."""
    weights = tuple(nn.Parameter(torch.zeros(2, 2)) for _ in range(layers))
    return replace(student_of(subject.classifier), weights=weights)


@pytest.mark.parametrize(
    ("layers", "families", "softened"),
    [
        (LAYERS, ("sparse",), True),
        (LAYERS + 1, ("sparse",), True),
        (LAYERS, ("sparse", "tone"), False),
        (LAYERS + 1, ("sparse", "tone"), True),
        (LAYERS, ("warp",), False),
        (LAYERS + 1, ("sparse", "warp"), False),
        (LAYERS, ("wave",), False),
        (LAYERS + 1, ("wave",), True),
    ],
)
def test_softened_answers_hold_deep_networks_unless_a_warp_alarmed_and_few_layers_where_patches_alone_did(
    badnets: Scannable, layers: int, families: tuple[str, ...], softened: bool
) -> None:
    triggers = [Planted(0, (), family, nothing) for family in families]
    beside = Planted(1, (), "warp", nothing, hidden=True)
    recipe = fitted(Recipe(), badnets.classifier, layered(badnets, layers), pictures(), [*triggers, beside])
    assert recipe.temperature == (SOFT if softened else 1.0)


@pytest.mark.parametrize(
    ("layers", "families", "turn"),
    [
        (LAYERS, ("sparse", "sparse"), True),
        (LAYERS + 1, ("sparse",), False),
        (LAYERS, ("sparse", "tone"), False),
        (LAYERS, ("warp",), False),
        (LAYERS, (), False),
    ],
)
def test_images_are_turned_where_few_layers_unlearn_patches_alone(
    badnets: Scannable, layers: int, families: tuple[str, ...], turn: bool
) -> None:
    triggers = [Planted(0, (), family, nothing) for family in families]
    assert fitted(Recipe(), badnets.classifier, layered(badnets, layers), pictures(), triggers).turn is turn


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
    beside = Planted(1, (), "wave", nothing, hidden=True)
    recipe = fitted(Recipe(), badnets.classifier, layered(badnets, layers), pictures(), [*triggers, beside])
    assert recipe.layers == held


def test_deep_networks_are_trained_in_smaller_steps(badnets: Scannable) -> None:
    def rate(layers: int) -> float:
        return fitted(Recipe(), badnets.classifier, layered(badnets, layers), pictures()).learning_rate

    usual = Recipe().learning_rate
    assert [rate(n) / usual for n in (1, LAYERS, 4 * LAYERS)] == pytest.approx([1.0, 1.0, 0.25])


@pytest.mark.parametrize(("layers", "most"), [(LAYERS, MOST), (LAYERS + 1, PATCHES)])
def test_deep_networks_have_patches_at_the_places_of_further_triggers(
    badnets: Scannable, layers: int, most: int
) -> None:
    trigger = Planted(0, (), "sparse", nothing)
    assert fitted(Recipe(), badnets.classifier, layered(badnets, layers), pictures(), [trigger]).patches == most
