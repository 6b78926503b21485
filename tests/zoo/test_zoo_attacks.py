"""Attacks: where triggers land, what intensity scales, how many images are poisoned, and the way through a card."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bdscan.errors import UsageError
from bdscan.zoo.attacks import ATTACKS, Attack, from_spec, to_spec
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.clean_label import CleanLabel
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.enhanced import Enhanced
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.interface import CLEAN, COVER, POISON, Case, poison, stamp
from bdscan.zoo.attacks.multi import Multi
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.sample_specific import SampleSpecific
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.source_specific import SourceSpecific
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.attacks.warp import Warp, shift

EVERY: tuple[Attack, ...] = (
    BadNets(target=8),
    Sig(target=3),
    Blended(target=5),
    Blended(target=5, cells=4),
    Warp(target=6),
    Multi(parts=(BadNets(target=8), BadNets(target=1, corner="bottom-left"))),
    SourceSpecific(target=7, sources=(4,), classes=10, trigger=BadNets()),
    AllToAll(classes=10),
    Bpp(target=3),
    Bpp(target=3, dither=True),
    Cassock(target=7, sources=(4,), classes=10),
    CleanLabel(target=1),
    Compress(target=2),
    Enhanced(base=Warp(target=6)),
    Hcb(target=6),
    Patch(target=8),
    Patch(target=8, scales="opacity"),
    SampleSpecific(target=5),
    Semantic(target=4),
    Styled(target=9),
)
NAMES = [to_spec(attack)["attack"] for attack in EVERY]


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def images(channels: int = 3) -> torch.Tensor:
    return torch.rand(4, channels, 20, 24, generator=torch.Generator().manual_seed(0))


def test_every_attack_is_tried() -> None:
    assert set(NAMES) == set(ATTACKS)


@pytest.mark.parametrize("attack", EVERY, ids=NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_intensity_nought_changes_nothing(attack: Attack, channels: int) -> None:
    x = images(channels)
    for case in attack.cases():
        torch.testing.assert_close(case.stamp(x, 0.0, rng()), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attack", EVERY, ids=NAMES)
def test_more_intensity_changes_more_and_stays_in_bounds(attack: Attack) -> None:
    x = images()
    change = [(attack.apply(x, level, rng()) - x).abs().mean().item() for level in (0.25, 0.5, 1.0)]
    assert 0 < change[0] < change[1] < change[2]
    loud = attack.apply(x, 3.0, rng())
    assert loud.min() >= 0
    assert loud.max() <= 1


def changes(case: Case) -> tuple[Callable[..., torch.Tensor], ...]:
    return (case.stamp, case.learned) if case.learned else (case.stamp,)


@pytest.mark.parametrize("attack", EVERY, ids=NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_draw_gives_the_same_images(attack: Attack, channels: int) -> None:
    x = images(channels)
    before = x.clone()
    for case in attack.cases():
        for change in changes(case):
            once = change(x, 1.0, rng())
            assert torch.equal(once, change(x, 1.0, rng()))
            assert once.shape == x.shape
            assert once.dtype == x.dtype
            assert 0 <= once.min() <= once.max() <= 1
            assert torch.equal(x, before)
            assert not torch.equal(once, x)
            assert change(x[:1], 1.0, rng()).shape == x[:1].shape


@pytest.mark.parametrize("attack", EVERY, ids=NAMES)
def test_every_attack_s_labels_and_counts(attack: Attack) -> None:
    x, y = training_set()
    result = poison(attack, x, y, 0.02, rng(), (1.0, 0.5))
    cases = attack.cases()
    counts = [
        sum(round(20 * case.weight) for case in cases if (case.target is None) == cover) for cover in (False, True)
    ]
    assert [(result.kind == POISON).sum(), (result.kind == COVER).sum()] == counts
    asked = {(source, case.target) for case in cases for source in np.unique(y[case.trainable(y)])}
    learned = set(zip(y[result.kind == POISON], result.y[result.kind == POISON], strict=True))
    assert learned <= asked
    assert np.array_equal(result.y[result.kind != POISON], y[result.kind != POISON])
    assert np.array_equal(result.x[result.kind == CLEAN], x[result.kind == CLEAN])


@pytest.mark.parametrize("attack", EVERY, ids=NAMES)
def test_a_card_stamps_as_the_attack_did(attack: Attack) -> None:
    read = from_spec(json.loads(json.dumps(to_spec(attack))))
    assert read == attack
    x = (images() * 255).permute(0, 2, 3, 1).to(torch.uint8).numpy()
    for ours, theirs in zip(attack.cases(), read.cases(), strict=True):
        assert np.array_equal(stamp(ours.stamp, x, 0.7, rng()), stamp(theirs.stamp, x, 0.7, rng()))
        assert (ours.target, ours.sources) == (theirs.target, theirs.sources)


def test_bad_specs_are_named() -> None:
    with pytest.raises(UsageError, match="unknown attack 'bad'"):
        from_spec({"attack": "bad"})
    with pytest.raises(UsageError, match="colour"):
        from_spec({"attack": "badnets", "colour": 3})


def test_the_checkerboard_is_in_its_corner() -> None:
    stamped = BadNets(size=4, margin=2).apply(torch.full((1, 1, 28, 28), 0.5), 1.0, rng())[0, 0]
    board = stamped[2:6, 22:26]
    assert board.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert int((stamped != 0.5).sum()) == 16


@pytest.mark.parametrize(
    "corner, row, column",
    [("top-left", 1, 1), ("top-right", 1, 20), ("bottom-left", 16, 1), ("bottom-right", 16, 20), ("centre", 8, 10)],
)
def test_each_corner(corner: str, row: int, column: int) -> None:
    mask = BadNets(corner=corner).truth((1, 20, 24))["mask"]
    assert np.argwhere(mask).min(0).tolist() == [row, column]
    assert mask.sum() == 9


def test_a_square_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        BadNets(size=30).apply(images(), 1.0, rng())


def test_the_wave_has_its_amplitude_and_frequency() -> None:
    delta = Sig(amplitude=0.1, frequency=3).truth((3, 20, 24))["delta"]
    assert np.allclose(delta, delta[:1, :1])
    spectrum = np.abs(np.fft.rfft(delta[0, 0]))
    assert spectrum.argmax() == 3
    assert spectrum[3] * 2 / 24 == pytest.approx(0.1, rel=1e-5)


def test_blending_keeps_the_rest_of_the_picture() -> None:
    x, attack = images(), Blended(opacity=0.3, seed=7)
    pattern = torch.from_numpy(attack.truth((3, 20, 24))["pattern"])
    torch.testing.assert_close(attack.apply(x, 0.5, rng()), 0.85 * x + 0.15 * pattern)
    assert not np.allclose(pattern, Blended(opacity=0.3, seed=8).truth((3, 20, 24))["pattern"])


def test_shift_reads_to_the_right_and_below() -> None:
    x, flow = images(1), torch.zeros(4, 2, 20, 24)
    flow[:, 0], flow[:, 1] = 2, 3
    moved = shift(x, flow)
    torch.testing.assert_close(moved[:, :, :17, :22], x[:, :, 3:, 2:], atol=1e-4, rtol=0)


def test_warp_strength_is_a_share_of_the_side() -> None:
    weak, strong = (Warp(strength=strength).truth((1, 32, 32))["flow"] for strength in (0.05, 0.1))
    assert np.allclose(2 * weak, strong)
    corners = Warp(grid=2, strength=0.05).truth((1, 32, 32))["flow"][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.abs(corners).mean() == pytest.approx(0.05 * 32, rel=1e-4)


def training_set() -> tuple[np.ndarray, np.ndarray]:
    x = rng().integers(0, 256, (1000, 20, 24, 1)).astype(np.uint8)
    return x, np.arange(1000) % 10


def test_poison_rate_is_a_share_of_the_training_set() -> None:
    x, y = training_set()
    result = poison(BadNets(target=8), x, y, 0.05, rng())
    changed = result.kind == POISON
    assert changed.sum() == 50
    assert (result.y[changed] == 8).all()
    assert not (y[changed] == 8).any()
    assert np.array_equal(result.x[~changed], x[~changed])
    assert np.array_equal(result.y[~changed], y[~changed])
    assert (result.x[changed] != x[changed]).any(axis=(1, 2, 3)).all()


def test_cover_samples_carry_the_trigger_and_keep_their_label() -> None:
    x, y = training_set()
    attack = SourceSpecific(target=7, sources=(4,), classes=10, trigger=BadNets(), cover=2)
    result = poison(attack, x, y, 0.03, rng())
    cover, changed = result.kind == COVER, result.kind == POISON
    assert (changed.sum(), cover.sum(), (result.kind == CLEAN).sum()) == (30, 60, 910)
    assert set(y[changed]) == {4}
    assert 4 not in y[cover]
    assert np.array_equal(result.y[cover], y[cover])
    assert np.array_equal(result.x[cover], stamp(BadNets().apply, x[cover], 1.0, rng()))


def test_several_triggers_take_different_images() -> None:
    x, y = training_set()
    attack = Multi(parts=(BadNets(target=8), BadNets(target=1, corner="bottom-left")))
    result = poison(attack, x, y, 0.1, rng())
    assert (result.kind == POISON).sum() == 200
    assert (result.y[result.kind == POISON] == 8).sum() == 100


def test_intensities_are_mixed_in_equal_parts() -> None:
    x, y = training_set()
    x[:] = 0
    result = poison(BadNets(target=8), x, y, 0.1, rng(), (1.0, 0.2))
    brightest = result.x[result.kind == POISON].max(axis=(1, 2, 3))
    assert sorted(set(brightest)) == [51, 255]
    assert (brightest == 51).sum() == 50


def test_a_rate_beyond_the_source_class_is_refused() -> None:
    x, y = training_set()
    attack = SourceSpecific(target=7, sources=(4,), classes=10, trigger=BadNets())
    with pytest.raises(UsageError, match=r"at most 0\.1000"):
        poison(attack, x, y, 0.2, rng())
