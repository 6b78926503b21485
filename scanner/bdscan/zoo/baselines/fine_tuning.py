"""Plain fine-tuning on clean images with their labels: what one would try first against a backdoor."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bdscan.intake.classifier import Classifier, Scannable
from bdscan.repair.student import Student, frozen, student_of
from bdscan.repair.unlearn import Recipe, varied

RECIPE = Recipe()  # the repair's own steps, rate and variations, so that only the objective differs


def fine_tuning(subject: Scannable, seed: int) -> Classifier:
    """The fine-tuned network. CannotJudge where its weights cannot be trained."""
    student = student_of(subject.classifier)
    tune(student, subject, seed)
    return frozen(student)


def tune(student: Student, subject: Scannable, seed: int) -> None:
    """Cross-entropy on the varied search images, in place."""
    images, labels = subject.samples.part(subject.samples.search, subject.classifier.device)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(student.weights, lr=RECIPE.learning_rate)
    for _ in range(RECIPE.steps):
        rows = torch.randint(0, len(images), (RECIPE.images,), generator=generator).to(images.device)
        logits = student.classifier(varied(images[rows], RECIPE.shift, generator))
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits, labels[rows]))
        optimiser.step()
