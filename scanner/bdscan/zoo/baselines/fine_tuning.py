"""Plain fine-tuning on clean images with their labels: what one would try first against a backdoor."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bdscan.intake.classifier import Classifier, Scannable
from bdscan.repair.recipe import Recipe, fitted
from bdscan.repair.student import Student, frozen, student_of
from bdscan.repair.varied import varied


def fine_tuning(subject: Scannable, seed: int) -> Classifier:
    """The fine-tuned network. CannotJudge where its weights cannot be trained."""
    student = student_of(subject.classifier)
    tune(student, subject, seed)
    return frozen(student)


def tune(student: Student, subject: Scannable, seed: int) -> None:
    """Cross-entropy on the varied search images, in place; with the repair's own steps, rate and variations, so that
    only the objective differs."""
    images, labels = subject.samples.part(subject.samples.search, subject.classifier.device)
    recipe = fitted(Recipe(), subject.classifier, student, images)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(student.weights, lr=recipe.learning_rate)
    for _ in range(recipe.steps):
        rows = torch.randint(0, len(images), (recipe.images,), generator=generator).to(images.device)
        logits = student.classifier(varied(images[rows], recipe, generator))
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits, labels[rows]))
        optimiser.step()
