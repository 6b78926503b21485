"""What holds for every trigger family, and each family against a second, plain implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bdscan.detectors.inversion.families import FAMILIES, sparse, tone, warp
from bdscan.detectors.inversion.families.interface import Family, Parameters

TRIGGERS, IMAGES, SHAPE = 3, 4, (3, 12, 10)
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def draw(family: Family, shape: tuple[int, int, int] = SHAPE, strength: float = 0.3) -> Parameters:
    """Parameters well away from the start."""
    generator = torch.Generator().manual_seed(1)
    start = family.start(TRIGGERS, shape, generator)
    return {k: v + strength * torch.randn(v.shape, generator=generator) for k, v in start.items()}


def pictures(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.rand(TRIGGERS, IMAGES, *shape, generator=torch.Generator().manual_seed(2))


@every_family
def test_intensity_zero_is_the_identity(family: Family) -> None:
    x = pictures()
    assert torch.allclose(family.stamp(draw(family), x, 0.0), x, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "warp"])  # one field serves all its images
def test_intensity_may_differ_from_image_to_image(name: str) -> None:
    family = FAMILIES[name]
    x, parameters = pictures(), draw(family)
    each = torch.tensor([0.0, 0.3, 0.7, 1.0]).view(1, IMAGES, 1, 1, 1)
    together = family.stamp(parameters, x, each)
    for i, value in enumerate(each.flatten().tolist()):
        assert torch.allclose(together[:, i], family.stamp(parameters, x, value)[:, i], atol=1e-6)


@every_family
@pytest.mark.parametrize("shape", [SHAPE, (1, 8, 8), (3, 5, 17)])
def test_stamped_images_are_images_of_the_same_shape(family: Family, shape: tuple[int, int, int]) -> None:
    x = pictures(shape)
    for intensity in (0.5, 1.0, 1.5):
        out = family.stamp(draw(family, shape, 2.0), x, intensity)
        assert out.shape == x.shape
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1
        assert not torch.allclose(out, x, atol=1e-2)


@every_family
def test_a_trigger_changes_its_own_row_only(family: Family) -> None:
    x, parameters = pictures(), draw(family)
    before = family.stamp(parameters, x, 1.0)
    for value in parameters.values():
        value[1] += 0.5
    after = family.stamp(parameters, x, 1.0)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1], atol=1e-3)


@pytest.mark.parametrize("family", [f for f in FAMILIES.values() if f.name != "wave"], ids=lambda f: f.name)
def test_gradients_reach_every_parameter_of_every_trigger(family: Family) -> None:
    leaf = {k: v.requires_grad_() for k, v in family.start(TRIGGERS, SHAPE, torch.Generator().manual_seed(3)).items()}
    direction = torch.randn(TRIGGERS, IMAGES, *SHAPE, generator=torch.Generator().manual_seed(4))
    for loss in ((family.stamp(leaf, pictures(), 1.0) * direction).sum(), family.penalty(leaf).sum()):
        for gradient in torch.autograd.grad(loss, list(leaf.values())):
            assert gradient.isfinite().all()
            assert (gradient.flatten(1).abs().amax(1) > 0).all()


@every_family
def test_sizes_are_one_number_a_trigger_below_the_cap_at_the_start_and_grow_with_the_change(family: Family) -> None:
    small = family.start(TRIGGERS, SHAPE, torch.Generator().manual_seed(5))
    large = {k: v + 2 if "positive" in small else v * 3 for k, v in small.items()}
    for size in (family.measure, family.penalty):
        assert size(small).shape == (TRIGGERS,)
        assert (size(large) > size(small)).all()
    assert (family.measure(small) < family.cap(SHAPE)).all()


@every_family
def test_the_start_is_the_seed_s(family: Family) -> None:
    first, again, other = (family.start(2, SHAPE, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    for k in first:
        assert torch.equal(first[k], again[k])
        assert not torch.equal(first[k], other[k])


def test_out_of_focus_is_a_blur_by_a_thirtieth_of_the_side() -> None:
    light = FAMILIES["blurred"].light
    assert light is not None
    x = torch.zeros(2, 3, 1, 30, 60)
    x[..., 15, 30] = 1.0
    out = light(x)
    assert out.shape == x.shape
    at = torch.exp(-0.5 * torch.arange(-3, 4) ** 2.0)
    assert out[0, 0, 0, 15, 27:34] == pytest.approx(at / at.sum() * (at / at.sum())[3], abs=1e-6)
    assert torch.equal(light(x[0]), out[0]), "with the axis of triggers or without"


def test_sparse_is_equation_4() -> None:
    parameters, x = draw(sparse.FAMILY), pictures()
    b_p, b_n = parameters["positive"], parameters["negative"]
    out = sparse.stamp(parameters, x, 1.0)
    for where in np.ndindex(*out.shape):
        trigger, _, c, h, w = where
        rise = 0.5 * (math.tanh(b_p[trigger, c, h, w]) + 1)
        fall = 0.5 * (math.tanh(b_n[trigger, c, h, w]) + 1)
        assert float(out[where]) == pytest.approx(min(max(float(x[where]) + rise - fall, 0), 1), abs=1e-6)


def test_sparse_penalty_is_equation_5() -> None:
    parameters = draw(sparse.FAMILY)
    gamma = 10
    for trigger, value in enumerate(sparse.penalty(parameters).tolist()):
        expected = 0.0
        for b in (parameters["positive"][trigger], parameters["negative"][trigger]):
            for h in range(SHAPE[1]):
                for w in range(SHAPE[2]):
                    expected += max(0.5 * (math.tanh(b[c, h, w] / gamma) + 1) for c in range(SHAPE[0]))
        assert value == pytest.approx(expected, rel=1e-5)


def test_sparse_counts_changed_pixels_once_whatever_their_channels() -> None:
    parameters = {k: torch.full((1, *SHAPE), -20.0) for k in ("positive", "negative")}
    parameters["positive"][0, :, 2, 3] = 20.0  # white in all channels
    parameters["negative"][0, 1, 5, 5] = 20.0  # one channel dark
    assert sparse.measure(parameters).tolist() == pytest.approx([2.0])


def test_dense_size_is_the_length_of_the_change() -> None:
    family = FAMILIES["dense"]
    parameters = draw(family, strength=0.01)
    x = torch.full((TRIGGERS, 1, *SHAPE), 0.5)
    change = (family.stamp(parameters, x, 1.0) - x)[:, 0]
    assert family.measure(parameters).tolist() == pytest.approx(change.flatten(1).norm(dim=1).tolist(), rel=1e-4)


def test_a_zero_grid_moves_nothing() -> None:
    x = pictures()
    still = {"grid": torch.zeros(TRIGGERS, 2, warp.GRID, warp.GRID)}
    assert torch.allclose(warp.stamp(still, x, 1.0), x, atol=2e-6)


@pytest.mark.parametrize("axis, rows, columns", [(0, 0, 2), (1, 3, 0)])
def test_a_constant_grid_shifts_the_image(axis: int, rows: int, columns: int) -> None:
    """Component 0 is x: a displacement of 2 k / (W - 1) half images fetches each pixel from k columns to its right."""
    x = pictures()
    height, width = SHAPE[1:]
    grid = torch.zeros(TRIGGERS, 2, warp.GRID, warp.GRID)
    grid[:, axis] = 2 * columns / (width - 1) if axis == 0 else 2 * rows / (height - 1)
    out = warp.stamp({"grid": grid}, x, 1.0)
    assert torch.allclose(out[..., : height - rows, : width - columns], x[..., rows:, columns:], atol=1e-5)
    # beyond the border the last pixel repeats
    edge = x[..., -1:, :].expand(-1, -1, -1, rows, -1) if rows else x[..., -1:].expand(-1, -1, -1, -1, columns)
    assert torch.allclose(out[..., -rows:, :] if rows else out[..., -columns:], edge, atol=1e-5)
    assert warp.penalty({"grid": grid})[0] == pytest.approx(float(grid.max()) / math.sqrt(2), rel=1e-4)


def test_tone_curve_is_linear_interpolation() -> None:
    offsets = 0.1 * torch.randn(TRIGGERS, SHAPE[0], tone.KNOTS, generator=torch.Generator().manual_seed(6))
    x = pictures()
    x[0, 0, 0, 0, :2] = torch.tensor([0.0, 1.0])  # the ends of the curve
    parameters = {"curve": offsets, "matrix": torch.zeros(TRIGGERS, SHAPE[0], SHAPE[0])}
    out = tone.stamp(parameters, x, 0.6).numpy()
    knots = np.linspace(0, 1, tone.KNOTS)
    for trigger in range(TRIGGERS):
        for c in range(SHAPE[0]):
            values = x[trigger, :, c].numpy()
            wanted = np.clip(values + 0.6 * np.interp(values, knots, offsets[trigger, c].numpy()), 0, 1)
            assert out[trigger, :, c] == pytest.approx(wanted, abs=1e-5)


def test_tone_matrix_mixes_channels() -> None:
    x = pictures()
    matrix = torch.zeros(TRIGGERS, 3, 3)
    matrix[:, 0, 1] = 0.5  # half the green is added to the red
    out = tone.stamp({"curve": torch.zeros(TRIGGERS, 3, tone.KNOTS), "matrix": matrix}, x, 1.0)
    assert torch.allclose(out[:, :, 0], (x[:, :, 0] + 0.5 * x[:, :, 1]).clamp(max=1), atol=1e-6)
    assert torch.equal(out[:, :, 1:], x[:, :, 1:])


def test_a_sparse_cell_is_a_square_of_a_large_image() -> None:
    """Against numpy's Kronecker product: 150 pixels a side are 50 cells of 3x3."""
    shape = (1, 150, 150)
    assert sparse.grid(shape) == (50, 50)
    assert sparse.grid((3, 64, 64)) == (64, 64)
    cells = torch.full((1, 1, 50, 50), -20.0)
    parameters = {"positive": cells.clone(), "negative": cells}
    parameters["positive"][0, 0, 4, 7] = 20.0
    expected = np.kron(sparse.change(parameters)[0, 0].numpy(), np.ones((3, 3)))
    stamped = sparse.stamp(parameters, torch.zeros(1, 2, *shape), 1.0)
    assert np.allclose(stamped[0, 1, 0].numpy(), expected, atol=1e-6)
    assert float(stamped[0, 0].sum()) == pytest.approx(9, abs=1e-3)
    assert float(sparse.measure(parameters)[0]) == pytest.approx(1, abs=1e-3)
