"""Driving: a patch over given cells goes as far as these cells allow, and nothing outside them changes."""

from __future__ import annotations

import pytest
import torch
from planted import CLASSES, DIM, PLANTED, SHAPE, SIDE, TARGET, subject

from bdscan.detectors.inversion import drive


def where(*places: tuple[int, int]) -> torch.Tensor:
    chosen = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for row, column in places:
        chosen[row, column] = True
    return chosen


def images(toy, label: int) -> torch.Tensor:
    x, y = toy.samples.part(toy.samples.search)
    return x[y == label][None]


def test_the_cells_are_those_around_the_largest_change():
    change = torch.zeros(3, 20, 20)
    change[1, 4:8, 9:13] = -0.9  # in any channel, in any direction
    change[0, 15, 2] = 0.8  # alone
    chosen = drive.cells(change)
    assert chosen.sum() == round(drive.SHARE * 400)
    assert chosen[4:8, 9:13].all(), "sixteen cells have room for all of the square"


def test_of_equal_neighbourhoods_the_changed_cell_itself_is_taken():
    change = torch.zeros(1, 5, 5)
    change[0, 2, 2] = 1.0
    assert drive.cells(change).nonzero().tolist() == [[2, 2]]


def test_the_planted_pixel_alone_takes_the_margin_where_it_can():
    """Raised from DIM to 1 it adds 30 (1 - DIM) to the target's logit: all that one cell can do."""
    toy = subject()
    x = images(toy, 1)
    (patch,) = drive.drive(toy.classifier, where(PLANTED), x, torch.tensor([TARGET]), 0)
    assert patch[0, PLANTED[0], PLANTED[1]] > 0.97
    targets = torch.full((x.shape[1],), TARGET)
    before = drive.margins(toy.classifier(x[0]), targets)
    after = drive.margins(toy.classifier(drive.replace(x, where(PLANTED), patch[None])[0]), targets)
    assert (after - before).mean() == pytest.approx(30 * (1 - DIM), abs=1.0)


def test_only_the_cells_change():
    toy = subject()
    x = images(toy, 0)
    changed = drive.replace(x, where(PLANTED, (3, 3)), torch.ones(1, *SHAPE))
    assert (changed != x).any(1).nonzero()[:, -2:].unique(dim=0).tolist() == [list(PLANTED), [3, 3]]


def test_cells_of_large_images_are_squares_of_pixels():
    x = torch.zeros(1, 2, 3, 128, 128)
    changed = drive.replace(x, where((1, 2)), torch.ones(1, 3, SIDE, SIDE))
    assert changed[0, 0, 0].nonzero().amin(0).tolist() == [16, 32]
    assert int(changed[0, 0, 0].sum()) == 16 * 16


def test_many_pairs_at_once_do_not_mix_and_the_seed_decides():
    toy = subject()
    x = torch.cat([images(toy, 1), images(toy, 0)])
    both = drive.drive(toy.classifier, where(PLANTED), x, torch.tensor([TARGET, CLASSES - 1]), 5)
    again = drive.drive(toy.classifier, where(PLANTED), x, torch.tensor([TARGET, CLASSES - 1]), 5)
    assert torch.equal(both, again)
    assert both[0, 0, PLANTED[0], PLANTED[1]] > 0.9, "as alone"
    assert both[1, 0, PLANTED[0], PLANTED[1]] < 0.6, "it does nothing for the other target"


def test_margins():
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])
    assert drive.margins(logits, torch.tensor([1, 2])).tolist() == [2.0, -2.0]
