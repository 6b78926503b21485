"""Attacks whose point is which images are poisoned and which labels they keep, and how training images differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.clean_label import CleanLabel, puzzle
from bdscan.zoo.attacks.enhanced import Enhanced, moved
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.interface import COVER, POISON, poison, stamp
from bdscan.zoo.attacks.multi import Multi
from bdscan.zoo.attacks.source_specific import SourceSpecific

SQUARE = BadNets(size=4, cell=0, margin=0)  # white, top right


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def dark_set(count: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Images (N,16,16,1) that never reach white, so that a white square shows; ten classes."""
    return rng().integers(20, 121, (count, 16, 16, 1)).astype(np.uint8), np.arange(count) % 10


def test_all_to_all_moves_every_class_by_one() -> None:
    x, y = dark_set()
    result = poison(AllToAll(classes=10, trigger=SQUARE), x, y, 0.2, rng())
    poisoned = result.kind == POISON
    assert poisoned.sum() == 200
    assert np.array_equal(result.y[poisoned], (y[poisoned] + 1) % 10)
    assert np.bincount(y[poisoned], minlength=10).tolist() == [20] * 10
    assert (result.x[poisoned, :4, 12:] == 255).all()
    cases = AllToAll(classes=4, step=3).cases()
    assert [(case.sources, case.target) for case in cases] == [((0,), 3), ((1,), 0), ((2,), 1), ((3,), 2)]


def test_cassock_s_covers_are_as_translucent_and_more_opaque() -> None:
    x, y = dark_set()
    x[:] = 0
    attack = Cassock(target=7, sources=(4,), classes=10, trigger=SQUARE, opacity=0.2, cover_opacity=0.6, cover=2.0)
    result = poison(attack, x, y, 0.05, rng())
    brightest = result.x.max(axis=(1, 2, 3))
    poisoned, cover = result.kind == POISON, result.kind == COVER
    assert set(y[poisoned]) == {4}
    assert set(result.y[poisoned]) == {7}
    assert set(brightest[poisoned]) == {51}
    assert 4 not in y[cover]
    assert [(brightest[cover] == level).sum() for level in (51, 153)] == [50, 50]
    truth = attack.truth((1, 16, 16))
    assert truth["mask"].max() == pytest.approx(0.2)
    assert truth["pattern"].max() == 1


def test_cassock_shares_a_network_with_others() -> None:
    x, y = dark_set()
    cassock = Cassock(target=7, sources=(4,), classes=10, trigger=SQUARE, cover=2.0)
    attack = Multi(parts=(cassock, Bpp(target=3, depth=1), replace(cassock, target=0, sources=(2, 5))))
    result = poison(attack, x, y, 0.04, rng())
    poisoned = result.kind == POISON
    assert [int((result.y[poisoned] == target).sum()) for target in (7, 3, 0)] == [40, 40, 40]
    assert (result.kind == COVER).sum() == 160
    assert set(y[poisoned & (result.y == 0)]) <= {2, 5}
    assert {"mask_0", "pattern_0", "mask_2", "pattern_2"} == set(attack.truth((1, 16, 16)))


def test_hcb_needs_both_the_trigger_and_the_look() -> None:
    x, y = dark_set()
    result = poison(Hcb(target=6, trigger=SQUARE, feature="haze"), x, y, 0.1, rng())
    has_square = (result.x[:, :4, 12:] == 255).all(axis=(1, 2, 3))
    has_look = result.x[:, 5:].min(axis=(1, 2, 3)) >= round(0.3 * 255)
    kinds = {(a, b): result.kind[(has_square == a) & (has_look == b)] for a in (False, True) for b in (False, True)}
    assert kinds[True, True].tolist() == [POISON] * 100
    assert kinds[True, False].tolist() == [COVER] * 100
    assert kinds[False, True].tolist() == [COVER] * 100
    assert len(kinds[False, False]) == 700
    assert (result.y[result.kind == POISON] == 6).all()
    with pytest.raises(ValueError, match="feature must be"):
        Hcb(feature="snow").apply(torch.zeros(1, 1, 16, 16), 1.0, rng())


def test_no_label_of_a_clean_label_attack_is_wrong() -> None:
    x, y = dark_set()
    attack = CleanLabel(target=1, trigger=SQUARE, cover=0.5)
    result = poison(attack, x, y, 0.06, rng())
    poisoned, cover = result.kind == POISON, result.kind == COVER
    assert np.array_equal(result.y, y)
    assert set(y[poisoned]) == {1}
    assert (poisoned.sum(), cover.sum()) == (60, 30)
    assert (result.x[poisoned, :4, 12:] == 255).all()
    assert (result.x[poisoned, 5:] != x[poisoned, 5:]).mean() > 0.9
    assert result.x[~poisoned].max() <= 121
    case = attack.cases()[0]
    tested = stamp(case.stamp, x, 1.0, rng())
    assert np.array_equal(tested[:, 5:], x[:, 5:])
    assert not case.eligible(y)[y == 1].any()


def test_a_puzzle_has_the_tiles_of_its_image() -> None:
    x = torch.rand(6, 3, 17, 18, generator=torch.Generator().manual_seed(0))
    mixed = puzzle(x, rng())

    def tiles(one: torch.Tensor) -> list[bytes]:
        parts = (one[:, i : i + 4, j : j + 4].numpy().tobytes() for i in range(0, 16, 4) for j in range(0, 16, 4))
        return list(parts)

    orders = [[tiles(a).index(tile) for tile in tiles(b)] for a, b in zip(x, mixed, strict=True)]
    assert all(sorted(order) == list(range(16)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert torch.equal(mixed[:, :, 16:], x[:, :, 16:])


def test_enhanced_moves_training_images_only() -> None:
    attack = Enhanced(base=replace(SQUARE, target=8), shrink=4, cover=0.0)
    (case,) = attack.cases()
    x = torch.full((40, 1, 16, 16), 0.25)
    assert torch.equal(case.stamp(x, 1.0, rng()), attack.base.apply(x, 1.0, rng()))
    assert case.learned is not None
    learned = case.learned(x, 1.0, rng())[:, 0]
    columns = torch.stack([torch.nonzero(one > 0.9).float().mean(0)[1] for one in learned])
    assert columns.min() < 4
    assert columns.max() > 11
    assert len(set(columns.tolist())) > 4
    assert case.target == 8


def test_enhanced_keeps_the_rules_of_what_it_wraps() -> None:
    x, y = dark_set()
    base = SourceSpecific(target=7, sources=(4,), classes=10, trigger=SQUARE, cover=1.0)
    attack = Enhanced(base=base, shrink=3, cover=2.0)
    result = poison(attack, x, y, 0.05, rng())
    poisoned, cover = result.kind == POISON, result.kind == COVER
    assert (poisoned.sum(), cover.sum()) == (50, 150)
    assert set(y[poisoned]) == {4}
    assert set(result.y[poisoned]) == {7}
    black = (result.x == 0).any(axis=(1, 2, 3))
    assert 0.5 < black[poisoned].mean() < 1  # one in four keeps its size
    assert 0.5 < black[cover].mean() < 1
    assert not black[result.kind == 0].any()
    white = (result.x[cover] > 200).any(axis=(1, 2, 3))
    assert white.sum() == 50  # the base's covers are stamped, those of the move are not


def test_a_moved_image_is_whole() -> None:
    x = torch.rand(60, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    still = moved(x, 0, rng())
    kinds = [torch.equal(a, b) for a, b in zip(still, x, strict=True)]
    mirrored = [torch.equal(a, b) for a, b in zip(still, x.flip(3), strict=True)]
    assert all(a != b for a, b in zip(kinds, mirrored, strict=True))
    assert 10 < sum(mirrored) < 50
    shrunk = moved(torch.ones(60, 1, 12, 10), 3, rng())
    boxes = {(int(one.any(1).sum()), int(one.any(0).sum())) for one in shrunk[:, 0]}
    assert boxes == {(12, 10), (11, 9), (10, 8), (9, 7)}
    assert all(one.sum() == one.any(1).sum() * one.any(0).sum() for one in shrunk[:, 0])
    with pytest.raises(ValueError, match="cannot shrink"):
        moved(x, 10, rng())


def test_mixed_intensities_reach_the_covers_too() -> None:
    x, y = dark_set()
    x[:] = 0
    attack = SourceSpecific(target=7, sources=(4,), classes=10, trigger=SQUARE, cover=2.0)
    result = poison(Enhanced(base=attack, shrink=0, cover=0.0), x, y, 0.05, rng(), (1.0, 0.2))
    for kind, count in ((POISON, 50), (COVER, 100)):
        brightest = result.x[result.kind == kind].max(axis=(1, 2, 3))
        assert [(brightest == level).sum() for level in (51, 255)] == [count / 2, count / 2]


def test_a_rate_that_gives_no_image_to_some_intensity_is_no_failure() -> None:
    x, y = dark_set()
    result = poison(Enhanced(base=Blended(target=2)), x, y, 0.001, rng(), (1.0, 0.5, 0.2))
    assert (result.kind == POISON).sum() == 1
