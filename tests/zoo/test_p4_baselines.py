"""GangSweep, MESA and FeatureRE: losses by hand, training that lowers them, and what they find on the fixtures."""

from __future__ import annotations

import model_folders
import numpy as np
import pytest
import torch
from torch.nn import functional

from bdscan.intake.classifier import Scannable
from bdscan.intake.load import load
from bdscan.zoo import p4_methods
from bdscan.zoo.baselines import feature_re, gangsweep, mesa, neural_cleanse
from bdscan.zoo.baselines.feature_re import Hyperplane, Problem
from bdscan.zoo.baselines.gangsweep import Shift
from bdscan.zoo.baselines.generator import seeded
from bdscan.zoo.baselines.per_class import others
from bdscan.zoo.baselines.stacked import Stacked
from bdscan.zoo.clean_images import from_test_split
from bdscan.zoo.fidelity import scan_settings
from bdscan.zoo.known_trigger import KnownTrigger, known_triggers
from bdscan.zoo.model_folder import read


@pytest.fixture(scope="module")
def badnets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scannable, KnownTrigger]:
    scratch = tmp_path_factory.mktemp("p4")
    model = read(model_folders.write(scratch / "badnets", "badnets"))
    from_test_split("digits", scratch, 0).write_drawn(scratch / "samples.npz")
    settings = scan_settings(model.weights, scratch / "samples.npz", model.arch(scratch), "quick", 0, 1)
    (known,) = known_triggers(model)
    return p4_methods.whole(load(settings).scannable), known


def images_of(subject: Scannable) -> tuple[torch.Tensor, torch.Tensor]:
    return subject.samples.part(subject.samples.search)


def success(subject: Scannable, stamp: object, target: int) -> float:
    x, y = images_of(subject)
    assert callable(stamp)
    stamped = stamp(x[y != target])
    assert 0 <= float(stamped.min()) <= float(stamped.max()) <= 1
    return float((subject.classifier.predict(stamped).argmax(1) == target).float().mean())


def test_every_image_searches(badnets: tuple[Scannable, KnownTrigger]) -> None:
    assert len(images_of(badnets[0])[1]) == 100


def test_rows_of_other_classes_are_evenly_spaced() -> None:
    labels = torch.tensor([0, 1, 0, 2, 2, 1])
    assert others(labels, 1, 10).tolist() == [0, 2, 3, 4]
    assert others(labels, 1, 2).tolist() == [0, 4]


def test_a_generator_starts_at_the_identity_and_is_its_seed_s() -> None:
    x = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    one, two = (seeded((1, 9, 7), seed, x.device) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.stamp(x), x)
    assert not torch.equal(one.fine.weight, two.fine.weight)


def test_carlini_and_wagner_s_loss_by_hand() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [9.0, 1.0, 1.0], [3.0, 0.0, 1.0]])
    margin = gangsweep.MARGIN
    wanted = [4.0 - 1.0 + margin, 0.0, max(0.0, 1.0 - 3.0 + margin)]
    assert gangsweep.carlini_wagner(logits, 0).tolist() == pytest.approx(wanted)


def test_gangsweep_calls_what_moves_features_far_and_alike() -> None:
    usual = [Shift(0.9, 0.02, 1.0 + 0.1 * i, 1.0) for i in range(6)]
    planted, weak = Shift(0.9, 0.02, 5.0, 0.5), Shift(0.3, 0.02, 5.0, 0.5)
    generators = [seeded((1, 8, 8), 0, torch.device("cpu"))] * 8
    found = gangsweep.judged([*usual, planted, weak], generators)
    assert found.flagged == {6}, "an outlier whose masks fail is no target"
    assert found.scores[6] == found.scores[7] > gangsweep.ALARM


def test_gangsweep_recovers_the_trigger(badnets: tuple[Scannable, KnownTrigger]) -> None:
    subject, known = badnets
    x, y = images_of(subject)
    generator, losses = gangsweep.train(subject.classifier, x[y != known.target], known.target, 60, 8, 0)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    assert success(subject, generator.stamp, known.target) > 0.8
    found = gangsweep.shift(subject.classifier, generator, x[y != known.target], known.target)
    assert found.success > 0.8
    assert found.size < 2 * gangsweep.BOUND


def test_places_cover_the_image_from_edge_to_edge() -> None:
    found = mesa.places((3, 32, 32))
    assert len(set(found)) == 9
    assert {place.side for place in found} == {8}
    assert (found[0].row, found[0].column, found[-1].row, found[-1].column) == (0, 0, 24, 24)
    pasted = found[2].paste(torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 8, 8))
    assert float(pasted.sum()) == float(pasted[:, :, :8, 24:].sum()) == 3 * 64


def test_mine_tells_what_depends_on_the_noise() -> None:
    """A critic trained on the bound sees that patches are made of the noise, and nothing in patches that are not."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 256, 4, generator=draw)
    bounds = []
    for patches in (noise[:, :, :2], torch.randn(1, 256, 2, generator=draw)):
        critic = Stacked(1, (6, 32, 1), draw, torch.device("cpu"))
        optimiser = torch.optim.Adam(critic.parameters(), 0.01)
        for _ in range(100):
            loss = -mesa.information(critic, patches, noise).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        bounds.append(-float(loss.detach()))
    assert bounds[0] > bounds[1] + 0.2


def test_stacked_networks_are_separate() -> None:
    draw = torch.Generator().manual_seed(0)
    both = Stacked(2, (3, 5, 2), draw, torch.device("cpu"))
    x = torch.rand(2, 4, 3, generator=draw)
    second = functional.relu(x[1] @ both.first[1] + both.shift[1]) @ both.second[1] + both.last[1]
    assert torch.allclose(both(x)[1], second, atol=1e-6)


def test_mesa_finds_place_and_patches(badnets: tuple[Scannable, KnownTrigger]) -> None:
    subject, known = badnets
    x, y = images_of(subject)
    rest = x[y != known.target]
    place = mesa.best_place(subject.classifier, rest, known.target, 0)
    changed = (known.stamp(rest[:1]) - rest[:1])[0].abs().sum(0).nonzero()
    middle = changed.float().mean(0).tolist()
    assert place.row <= middle[0] <= place.row + place.side
    assert place.column <= middle[1] <= place.column + place.side
    model, losses = mesa.train(subject.classifier, rest, known.target, place, 60, 8, 0)
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.2
    recovered = mesa.Recovered(model, place, 0)
    assert success(subject, recovered, known.target) > 0.8
    stamped = recovered(rest)
    assert torch.equal(stamped, recovered(rest))
    corner = stamped[:, :, place.row : place.row + place.side, place.column : place.column + place.side]
    assert float(corner.std(0).max()) > 0.01, "patches differ: it is a distribution"


def test_the_mixed_features_are_as_published() -> None:
    """With m = 1 all features are the mean of the changed images', with m = 0 they are the clean ones."""
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    problem = Problem(lambda images: images.flatten(1), (weight, torch.zeros(3)), x, x.flatten(1), 2)
    generator = seeded((1, 4, 4), 0, x.device)
    rows, wanted = torch.arange(6), torch.full((6,), 2)
    for raw, mixed in ((-50.0, x.flatten(1)), (50.0, x.flatten(1).mean(0).expand(6, -1))):
        entropy, penalty, parts = problem.measured(generator, torch.full((16,), raw), rows)
        logits = mixed @ weight.T
        assert float(entropy.detach()) == pytest.approx(float(functional.cross_entropy(logits, wanted)), rel=1e-4)
        assert parts.success == pytest.approx(float((logits.argmax(1) == 2).float().mean()))
    spread = float(x.flatten(1).std(0, correction=0).sum() / x.flatten(1).mean(0).sum())
    assert (parts.near, parts.size) == (0, pytest.approx(1.0))
    assert parts.spread == pytest.approx(spread, rel=1e-3)
    over = zip((spread, 1.0), (feature_re.SPREAD, feature_re.SIZE), feature_re.WEIGHTS[1:], strict=True)
    wanted_penalty = sum(weight * max(0.0, value - bound) for value, bound, weight in over)
    assert float(penalty.detach()) == pytest.approx(wanted_penalty, rel=1e-3)


def test_feature_re_calls_the_label_whose_hyperplane_is_cheap() -> None:
    usual = [Hyperplane(1.0, 0.1, 0.06 + 0.004 * i, 0.8, 0.4) for i in range(6)]
    planted, failing = Hyperplane(1.0, 0.1, 0.02, 0.4, 0.2), Hyperplane(0.5, 0.1, 0.02, 0.4, 0.2)
    found = feature_re.judged([*usual, planted, failing], {})
    assert planted.mixed == pytest.approx(
        0.1 + 0.02 / feature_re.NEAR + 0.4 / feature_re.SPREAD + 0.2 / feature_re.SIZE
    )
    assert found.flagged == {6}


def test_feature_re_searches_a_hyperplane(badnets: tuple[Scannable, KnownTrigger]) -> None:
    subject, known = badnets
    x, y = images_of(subject)
    features, head = subject.classifier.features, subject.classifier.head
    assert features is not None
    assert head is not None
    rest = y != known.target
    problem = Problem(features, head, x[rest], features(x)[rest], known.target)
    generator, raw, losses = feature_re.search(problem, 80, 8, 0)
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    assert success(subject, generator.stamp, known.target) > 0.5
    assert float(torch.sigmoid(raw).mean()) < 0.7, "the mask shrinks from 0.88"


def test_neural_cleanse_keeps_the_trigger_of_its_size(badnets: tuple[Scannable, KnownTrigger]) -> None:
    subject, known = badnets
    found = neural_cleanse.inverted(subject.classifier, *images_of(subject), iterations=100, per_step=6)
    k = known.target
    assert found.sizes[k] < 256
    assert float(found.masks[k].sum()) == pytest.approx(found.sizes[k], rel=1e-5)
    assert success(subject, lambda images: found.stamp(k, images), k) > 0.9
