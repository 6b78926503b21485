"""MESA (Qiao, Yang, Li 2019, "Defending Neural Backdoors via Generative Distribution Modeling"), plainly.

A planted trigger is one point of a whole distribution of patches that fire. A max-entropy staircase approximator
models it for a label with several sub-generators G_i, noise z to patch. Each has a threshold b_i and the loss
max(0, b_i - F(x stamped with G_i(z))) - a H(G_i(z)): F is the label's probability, and the entropy H, which for a
deterministic G is the mutual information of z and G(z), is bounded from below by a neural estimator (MINE).

From the paper: staircase, loss, MINE, of which ours has Jensen and Shannon's form of the bound. The paper was not at
hand: thresholds, weight a, sizes of the networks and the way a target class is told are not checked. Its patches are
small and of known size; a defender does not know the place either, so ours are squares of a quarter of the side, at the
best of nine places by a short inversion of one plain patch in each. A label is an outlier where the highest
sub-generator's patches succeed more often than others' (index above 2, and on half of the images). Scaled down: 60
steps of 8 images a sub-generator. P4's MESA is "optimised with BAERASER", which ours is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdscan.detectors.robust import outlier_scores
from bdscan.intake.classifier import Classifier, batch_size
from bdscan.zoo.baselines.per_class import PerClass, floats, others
from bdscan.zoo.baselines.stacked import Stacked

THRESHOLDS = (0.5, 0.8, 0.95)  # b_i
ENTROPY = 0.1  # a
NOISE, HIDDEN = 32, 64  # length of z, width of both networks
STEPS, PER_STEP, RATE = 60, 8, 5e-3
PROBE_STEPS, PROBE_IMAGES, PROBE_RATE = 12, 3, 0.5
PART = 4  # a patch's side is the image's over this
EXAMINED = 60
ALARM, FLOOR, SUCCESS = 2.0, 0.05, 0.5


@dataclass(frozen=True)
class Place:
    """The square that patches replace: its upper left corner and its side, in pixels."""

    row: int
    column: int
    side: int

    def paste(self, images: Tensor, patches: Tensor) -> Tensor:
        """Images (N,C,H,W) with patches (N,C,side,side) in them."""
        rows, columns = slice(self.row, self.row + self.side), slice(self.column, self.column + self.side)
        stamped = images.clone()
        stamped[:, :, rows, columns] = patches
        return stamped


def places(shape: tuple[int, int, int]) -> tuple[Place, ...]:
    """Three by three squares, from edge to edge of images (C,H,W)."""
    _, height, width = shape
    side = max(1, min(height, width) // PART)
    rows, columns = ([0, (size - side) // 2, size - side] for size in (height, width))
    return tuple(Place(row, column, side) for row in rows for column in columns)


def invert(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int = STEPS,
    per_step: int = PER_STEP,
    seed: int = 0,
) -> PerClass:
    """Of clean images (N,C,H,W) in [0,1] with labels (N,)."""
    classes = len(classifier.classes)
    stamps, success, where = {}, [], []
    for k in range(classes):
        place = best_place(classifier, images[labels != k], k, seed)
        model, _ = train(classifier, images[labels != k], k, place, steps, per_step, seed)
        stamps[k] = Recovered(model, place, seed)
        stamped = stamps[k](images[others(labels, k, EXAMINED)])
        success.append(float((classifier.predict(stamped).argmax(1) == k).float().mean()))
        where.append(float(places(classifier.shape).index(place)))
    index = outlier_scores(torch.tensor(success, dtype=torch.float64).numpy(), FLOOR)
    flagged = frozenset(k for k in range(classes) if index[k] > ALARM and success[k] >= SUCCESS)
    return PerClass(floats(index.tolist()), flagged, stamps, {"success": floats(success), "place": tuple(where)})


def best_place(classifier: Classifier, images: Tensor, target: int, seed: int) -> Place:
    """Where one plain patch, after a few steps, gives the target the highest mean probability."""
    all_places = places(classifier.shape)
    side, channels = all_places[0].side, images.shape[1]
    draw = torch.Generator().manual_seed(seed)
    raw = torch.zeros(len(all_places), channels, side, side, device=images.device).requires_grad_()
    optimiser = torch.optim.Adam([raw], PROBE_RATE)
    mean = torch.zeros(len(all_places))
    for _ in range(PROBE_STEPS):
        clean = images[torch.randint(len(images), (PROBE_IMAGES,), generator=draw).to(images.device)]
        patches = torch.sigmoid(raw)[:, None].expand(-1, len(clean), -1, -1, -1)
        stamped = torch.cat([place.paste(clean, patch) for place, patch in zip(all_places, patches, strict=True)])
        log = classifier(stamped).log_softmax(1)[:, target].view(len(all_places), -1).mean(1)
        optimiser.zero_grad()
        torch.autograd.backward(-log.sum())
        optimiser.step()
        mean = log.detach().cpu()
    return all_places[int(mean.argmax())]


def train(
    classifier: Classifier, images: Tensor, target: int, place: Place, steps: int, per_step: int, seed: int
) -> tuple[Stacked, list[float]]:
    """The sub-generators of one label, noise (S,n,NOISE) to patches, and their mean loss by step."""
    count, device = len(THRESHOLDS), images.device
    draw = torch.Generator().manual_seed(seed)
    pixels = images.shape[1] * place.side**2
    model = Stacked(count, (NOISE, HIDDEN, pixels), draw, device)
    critic = Stacked(count, (pixels + NOISE, HIDDEN, 1), draw, device)
    optimiser = torch.optim.Adam([*model.parameters(), *critic.parameters()], RATE)
    threshold = torch.tensor(THRESHOLDS, device=device)[:, None]
    losses = []
    for _ in range(steps):
        noise = torch.randn(count, per_step, NOISE, generator=draw).to(device)
        rows = torch.randint(len(images), (count * per_step,), generator=draw).to(device)
        patches = torch.sigmoid(model(noise))
        stamped = place.paste(images[rows], patches.view(-1, images.shape[1], place.side, place.side))
        parts = [classifier(part) for part in torch.split(stamped, batch_size(stamped.shape, 512))]
        fired = torch.cat(parts).softmax(1)[:, target].view(count, per_step)
        hinge = torch.relu(threshold - fired).mean(1)
        loss = (hinge - ENTROPY * information(critic, patches, noise)).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)  # the critic climbs the same bound that the generator does
        optimiser.step()
        losses.append(float(loss.detach()))
    return model, losses


def information(critic: Stacked, patches: Tensor, noise: Tensor) -> Tensor:
    """How well a critic tells patches (S,n,p) with the noise (S,n,z) that made them from other pairs, (S,), at most 0.

    A lower bound, up to constants, on the divergence of Jensen and Shannon between both: finite, where the mutual
    information of noise and what a deterministic generator makes of it is not. Other pairs are a turn by one row.
    """
    joint = critic(torch.cat([patches, noise], 2))
    apart = critic(torch.cat([patches, noise.roll(1, 1)], 2))
    return -(functional.softplus(-joint) + functional.softplus(apart)).mean((1, 2))


@dataclass(frozen=True)
class Recovered:
    """The trigger distribution of one label: every image gets a patch of its own from the highest sub-generator."""

    model: Stacked
    place: Place
    seed: int

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N,C,H,W) in [0,1], stamped; the same seed draws the same patches."""
        draw = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(1, len(images), NOISE, generator=draw).expand(len(THRESHOLDS), -1, -1)
        with torch.no_grad():
            patches = torch.sigmoid(self.model(noise.to(images.device)))[-1]
        return self.place.paste(images, patches.view(-1, images.shape[1], self.place.side, self.place.side))
