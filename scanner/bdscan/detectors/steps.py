"""Steps: walk away from the original label and see where one lands (P4, algorithms 1 and 2).

From each clean sample the loss of its own label is climbed with normalised gradients; no target is chosen. What is
recorded is the step of the first flip and the label it lands on, Lead(m, n). Steps grow geometrically, so that one
setting serves networks whose nearest flip is 0.1 or 10 away. P4 trains a generator G on the original label and takes
T = -G; the plain gradient is that generator's first step and costs one batch over all samples, whatever K is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.common import evenly, label_of
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.robust import Array, outlier_scores, upper_group
from bdscan.intake.classifier import Scannable, batch_size
from bdscan.report import Curve, Line, Matrix, Statistic

ROUNDS = {"quick": 24, "standard": 32, "thorough": 48}
IMAGES = {"quick": 64, "standard": 256, "thorough": 1024}  # to walk from, at most
REACH = 0.35  # the whole walk is at most this far, in units of sqrt(C*H*W): grey everywhere is about 0.5
GROWTH = 1.2

about = About(
    name="steps",
    title="Steps: unconstrained label mutation",
    needs="input gradients and clean images",
    finds="classes that clean images of one or of many classes fall into early",
    misses="on photographs the flip goes to the nearest class; it ranks labels, it does not decide",
    source="P4, algorithms 1-2",
)


def mutate(
    subject: Scannable, rounds: int, *, most: int = 10_000, mask: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First flip of every correctly classified search sample.

    Args:
        most: images to walk from at most, evenly spaced over the search part.
        mask: E (1, H, W) in [0, 1], multiplied into each gradient: DMS-Steps (P4, algorithm 1, line 2).

    Returns:
        source labels (n,), step of the first flip (n,) with `rounds` where none came, label landed on (n,) or -1.
    """
    classifier = subject.classifier
    images, labels = subject.samples.part(subject.samples.search, classifier.device)
    right = classifier.predict(images).argmax(1) == labels
    clean, labels = evenly(images[right], most), evenly(labels[right], most)
    here = clean.clone()
    first = torch.full((len(here),), rounds, device=here.device)
    landed = torch.full_like(first, -1)
    scale = REACH * math.sqrt(math.prod(classifier.shape)) * (GROWTH - 1) / (GROWTH**rounds - 1)
    for k in range(rounds):
        on = (landed < 0).nonzero()[:, 0]  # only the first flip counts
        if not len(on):
            break
        for part in torch.split(on, batch_size(classifier.shape, 128)):
            leaf = here[part].detach().requires_grad_()
            logits = classifier(leaf)
            now = logits.argmax(1)
            fresh = now != labels[part]
            first[part[fresh]] = k
            landed[part[fresh]] = now[fresh]
            # margins rather than probabilities: the gradient of a saturated softmax vanishes
            own = logits.gather(1, labels[part, None])[:, 0]
            rest = logits - 1e9 * F.one_hot(labels[part], logits.shape[1])
            (gradient,) = torch.autograd.grad((rest.logsumexp(1) - own).sum(), leaf)
            if mask is not None:
                gradient = gradient * mask.to(gradient.device)
            length = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
            step = scale * GROWTH**k / length
            here[part] = (here[part] + step.view(-1, 1, 1, 1) * gradient).clamp(0, 1)
    return labels.cpu().numpy(), first.cpu().numpy(), landed.cpu().numpy()


def lead(sources: np.ndarray, first: np.ndarray, landed: np.ndarray, classes: int, rounds: int) -> Array:
    """Lead(m, n) (K, K): flips from m to n as a share of m's samples, an early flip weighing up to twice a late one."""
    table = np.zeros((classes, classes))
    for m, k, n in zip(sources, first, landed, strict=True):
        if n >= 0:
            table[m, n] += 1 + (rounds - k) / rounds
    count = np.bincount(sources, minlength=classes)[:, None]
    return np.asarray(table / np.maximum(count, 1))


def rows_by_kmeans(table: Array) -> list[tuple[int, int]]:
    """P4, algorithm 1, line 10: k-means, k = 2, over each row of Lead; a high cluster of one label n is (m, n)."""
    found = []
    for m, row in enumerate(table):
        values = np.delete(row, m)
        top = upper_group(values)
        if values.max() > 0 and top.sum() == 1:
            n = int(np.delete(np.arange(len(row)), m)[top.argmax()])
            found.append((m, n))
    return found


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    if not subject.classifier.differentiable:
        return CouldNotRun("the model has no input gradients")
    rounds = ROUNDS[budget.name]
    sources, first, landed = mutate(subject, rounds, most=IMAGES[budget.name])
    if len(sources) == 0:
        return CouldNotRun("no search image is classified correctly")
    classes = len(subject.classifier.classes)
    table = lead(sources, first, landed, classes, rounds)
    inflow = table.sum(0) / max(1, classes - 1)
    index = outlier_scores(inflow, floor=0.05)
    top = int(index.argmax())
    pairs = rows_by_kmeans(table)
    shown = [int(i) for i in inflow.argsort()[::-1][:12]]
    steps = tuple(float(k) for k in range(rounds + 1))

    def curve(target: int | None) -> tuple[float, ...]:
        """Share of samples (of other classes) that had flipped (to the target) by each step."""
        use = sources != target if target is not None else np.ones(len(sources), bool)
        hit = (landed == target) if target is not None else (landed >= 0)
        return tuple(float(((first <= k) & hit & use).sum() / max(1, use.sum())) for k in steps)

    lines = [Line(name="all flips", y=curve(None))]
    lines += [Line(name=subject.classifier.classes[i], y=curve(i), highlighted=i == top) for i in shown[:4]]
    evidence: list[Curve | Matrix] = [
        Curve(title="Mutation curve", x_label="step", y_label="share flipped", x=steps, lines=tuple(lines))
    ]
    if classes <= 12:
        names = tuple(label_of(subject, i) for i in range(classes))
        evidence.append(
            Matrix(
                title="Where clean images land first: Lead(source, target)",
                unit="weighted share of the source's images",
                rows=names,
                columns=names,
                values=tuple(tuple(float(v) for v in row) for row in table),
                highlighted=tuple(pairs),
            )
        )
    return Measurement(
        statistics=(
            Statistic(
                name="steps.inflow_index",
                detector=about.name,
                value=float(index[top]),
                target=label_of(subject, top),
                description="largest anomaly index of the share of first flips that land on a label",
            ),
            Statistic(
                name="steps.kmeans_rows",
                detector=about.name,
                value=float(len(pairs)),
                description="source classes whose first flips go to one label (k-means, k = 2)",
            ),
        ),
        evidence=tuple(evidence),
        summary=f"most flips land on class {top} (index {index[top]:.1f})",
        scores={i: float(v) for i, v in enumerate(index)},
    )
