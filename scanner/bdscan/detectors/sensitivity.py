"""Sensitivity and the differential middle slice, DMS (P4, eq. 1).

S(p) is how far the outputs move when cell p of the image is perturbed, averaged over images and perturbations. From it
the same map of a reference f_s is taken away: what the subject reacts to and a network that only knows clean data
does not. The middle slice (r1, r2) of the difference is the mask E that constrains the inversion.

Without a trusted network the reference is a small one, distilled on the samples with shifts and mixes: it learns what
the subject does on clean images and never sees a trigger. Outputs are softened probabilities, and each map is divided
by its mean, since a difference of raw logits of two networks means nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bdscan.detectors.common import evenly
from bdscan.detectors.interface import About, Budget, CouldNotRun, Hints, Measurement, Progress
from bdscan.detectors.pictures import png
from bdscan.intake.classifier import Scannable
from bdscan.report import Picture, Statistic

CELLS = {"quick": 6, "standard": 8, "thorough": 14}  # a side
IMAGES = {"quick": 16, "standard": 16, "thorough": 64}
STUDENT_STEPS = {"quick": 60, "standard": 120, "thorough": 300}
VIEWS = 4  # augmented copies of each image that the subject labels for the student
SLICE = (0.6, 0.995)  # (r1, r2): quantiles of the difference that E keeps
OUTSIDE = 0.05  # P4: "an infinitesimal near-zero value"; not zero, so that a gradient remains

about = About(
    name="sensitivity",
    title="Sensitivity map and differential middle slice (DMS)",
    needs="clean images",
    finds="places that the model reacts to more than a clean network does; the mask for constrained inversion",
    misses="triggers without a place: tones, warps, whole-image patterns",
    source="P4, eq. 1",
)


class Student(nn.Module):
    """A small convolutional network, any input size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.body(images)
        return out


def soften(logits: Tensor) -> Tensor:
    """Softened probabilities: the temperature makes the typical spread of the logits one."""
    spread = logits.std(1).mean().clamp(min=1e-6)
    return (logits / spread).softmax(1)


def distil(subject: Scannable, steps: int, seed: int, progress: Progress) -> Student:
    """A student of the subject's behaviour on shifted and mixed clean images."""
    classifier = subject.classifier
    images, _ = subject.samples.part(subject.samples.search, classifier.device)
    generator = torch.Generator().manual_seed(seed)
    views = []
    for _ in range(VIEWS):
        order = torch.randperm(len(images), generator=generator)
        share = 0.3 * torch.rand(len(images), 1, 1, 1, generator=generator)
        mixed = (1 - share).to(images.device) * images + share.to(images.device) * images[order]
        dy, dx = (int(v) for v in torch.randint(-2, 3, (2,), generator=generator))
        views.append(mixed.roll((dy, dx), (2, 3)))
    inputs = torch.cat([images, *views])
    wanted = soften(classifier.predict(inputs))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(classifier.shape[0], wanted.shape[1]).to(images.device)
    optimiser = torch.optim.Adam(student.parameters(), 3e-3)
    for i in range(steps):
        pick = torch.randint(0, len(inputs), (64,), generator=generator).to(images.device)
        loss = F.kl_div(student(inputs[pick]).log_softmax(1), wanted[pick], reduction="batchmean")
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        progress(0.5 * (i + 1) / steps)
    return student.eval()


def sensitivity(predict: Callable[[Tensor], Tensor], images: Tensor, cells: int) -> Tensor:
    """S (cells, cells): mean L2 change of the softened outputs when a cell is made black, white or inverted."""
    height, width = images.shape[2:]
    clean = soften(predict(images))
    out = torch.zeros(cells, cells)
    for r in range(cells):
        for c in range(cells):
            ys = slice(r * height // cells, max((r + 1) * height // cells, r * height // cells + 1))
            xs = slice(c * width // cells, max((c + 1) * width // cells, c * width // cells + 1))
            moved = []
            for value in (0.0, 1.0, None):
                changed = images.clone()
                changed[:, :, ys, xs] = 1 - images[:, :, ys, xs] if value is None else value
                moved.append(changed)
            outputs = soften(predict(torch.cat(moved))).view(3, *clean.shape)
            out[r, c] = float((outputs - clean).norm(dim=2).mean())
    return out


def middle_slice(difference: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask E (1, H, W) in [0, 1]: 1 inside the slice (r1, r2) of the difference, near zero outside."""
    flat = difference.flatten()
    low, high = (float(flat.quantile(q)) for q in SLICE)
    inside = ((difference >= low) & (difference <= high)).float()
    inside = torch.maximum(inside, (difference > high).float() * 0.5)
    smooth = F.interpolate(inside[None, None], size=size, mode="bilinear", align_corners=False)[0]
    return smooth.clamp(OUTSIDE, 1.0)


def run(subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
    classifier = subject.classifier
    images, _ = subject.samples.part(subject.samples.search, classifier.device)
    cells = min(CELLS[budget.name], classifier.shape[1] // 2, classifier.shape[2] // 2)
    if cells < 2:
        return CouldNotRun("the images are too small for a map")
    few = evenly(images, IMAGES[budget.name])
    own = sensitivity(classifier.predict, few, cells)
    progress(0.3)
    if subject.reference is not None:
        other, name = sensitivity(subject.reference.predict, few, cells), "the trusted network"
    else:
        student = distil(subject, STUDENT_STEPS[budget.name], budget.seed, lambda v: progress(0.3 + 0.6 * v))
        with torch.no_grad():
            other, name = sensitivity(student, few, cells), "a student distilled on the samples"
    difference = own / own.mean().clamp(min=1e-9) - other / other.mean().clamp(min=1e-9)
    mask = middle_slice(difference, classifier.shape[1:])
    spread = float(difference.std().clamp(min=1e-9))
    peak = float(difference.max()) / spread
    place = int(difference.argmax())

    def picture(title: str, values: Tensor, alt: str) -> Picture:
        low, high = float(values.min()), float(values.max())
        scaled = ((values - low) / max(high - low, 1e-9))[None, None]
        large = F.interpolate(scaled, size=classifier.shape[1:], mode="nearest")[0]
        return Picture(title=title, alt=alt, png=png(large), caption=f"from {low:.2f} to {high:.2f}")

    return Measurement(
        statistics=(
            Statistic(
                name="sensitivity.peak",
                detector=about.name,
                value=peak,
                description="largest difference of the maps, in standard deviations over cells",
            ),
        ),
        evidence=(
            picture("Sensitivity", own, "How far the outputs move when a cell of the image is changed; bright is far"),
            picture("Difference to the reference", difference, f"Sensitivity less that of {name}; bright is more"),
            Picture(title="DMS mask", alt="The middle slice that constrains the inversion", png=png(mask)),
        ),
        summary=f"compared with {name}: peak {peak:.1f} at row {place // cells}, column {place % cells} of {cells}",
        mask=mask,
    )
