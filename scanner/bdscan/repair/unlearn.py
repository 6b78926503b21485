"""Unlearning: the target is made as unlikely on stamped images as the original finds it on the same ones unstamped.

P4 (III.C) and Neural Cleanse train stamped images on their right labels. With fifty images that asks too much: a net
that is no surer than 80 % learns these images by heart, and clean accuracy falls by four points where it need not fall
by one. So a stamp must only stop naming the target, and the original's answers to clean images hold the rest in place
(distillation); the right answer on stamped images is asked for weakly.

Images are few, so they are varied (`varied`). Some variations fire a backdoor by themselves (a grey object's, where two
images are mixed to grey); there the label stands for the original's answer.

What the triggers at hand teach does not reach a stronger one, so patches, warps and patterns are sharpened against
the student while it trains, and each that was found stays among the triggers (`sharpen`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bdscan.intake.classifier import Classifier
from bdscan.intake.speed import fast
from bdscan.repair.layers import answered, moved
from bdscan.repair.planted import Planted
from bdscan.repair.recipe import Recipe
from bdscan.repair.sharpen import sharpen
from bdscan.repair.sharper import sharper
from bdscan.repair.student import Student, frozen
from bdscan.repair.varied import varied
from bdscan.repair.waves import drawn, neighbours

SLACK = 0.02  # of probability
SURE = 0.95  # of the label, where it stands for the original's answer


def stamped(
    images: Tensor, labels: Tensor, triggers: Sequence[Planted], recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each image with one of the triggers that concern its class, at a drawn intensity; and that trigger's target (n,),
    -1 where none does. Every target gets as many images, however many triggers it has: sharpened patches grow in
    number, and a sine wave beside three of them got so few that a quarter of it was left."""
    out, targets = images.clone(), torch.full_like(labels, -1)
    choice = torch.randint(0, 2**31 - 1, (len(images),), generator=generator)
    low, high = recipe.intensities
    levels = (low + (high - low) * torch.rand(4, generator=generator)).tolist()
    concerned = torch.stack([t.victims(labels) for t in triggers]).cpu()  # (T, n)
    concerned &= _one_target(concerned, triggers, choice // 28)
    weight = concerned.long().cumsum(0) * concerned
    wanted = choice % concerned.sum(0).clamp(min=1) + 1
    for t, trigger in enumerate(triggers):
        for level, intensity in enumerate(levels):
            rows = ((weight[t] == wanted) & (choice // 7 % len(levels) == level)).nonzero()[:, 0].to(images.device)
            if len(rows):
                out[rows], targets[rows] = trigger.stamp(images[rows], intensity), trigger.target
    return out, targets


def _one_target(concerned: Tensor, triggers: Sequence[Planted], choice: Tensor) -> Tensor:
    """bool (T, n): for each image the triggers of one of the targets that concern it, which `choice` (n,) draws."""
    targets = list(dict.fromkeys(t.target for t in triggers))
    own = torch.tensor([targets.index(t.target) for t in triggers])
    use = torch.stack([concerned[own == i].any(0) for i in range(len(targets))])
    place = use.long().cumsum(0) * use
    chosen: Tensor = place == choice % use.sum(0).clamp(min=1) + 1
    return chosen[own]


def fooled(answers: Tensor, labels: Tensor, triggers: Sequence[Planted]) -> Tensor:
    """bool (n,): clean images with labels (n,) that answers (n, K) send to a trigger's target from a class that the
    trigger concerns: the backdoor may answer there."""
    said = answers.argmax(1)
    found = torch.zeros_like(labels, dtype=torch.bool)
    for trigger in triggers:
        found |= (said == trigger.target) & trigger.victims(labels)
    return found


def corrected(answers: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """The original's log-probabilities (n, K) on clean images with labels (n,); where `wrong` (n,), the label's."""
    classes = answers.shape[1]
    wanted = SURE * F.one_hot(labels, classes) + (1 - SURE) / classes
    return torch.where(wrong[:, None], wanted.log().to(answers.dtype), answers)


def unlikely(answers: Tensor, before: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log(1 - p) over images whose target's probability p is above the original's on the clean image.

    Args:
        answers, before: log-probabilities (n, K) of the student on stamped and of the original on clean images.
        targets: (n,); -1 for images without a stamp.
    """
    use = targets >= 0
    if not bool(use.any()):
        return answers.sum() * 0
    column = targets[use, None]
    now, usual = (log[use].gather(1, column)[:, 0].exp() for log in (answers, before))
    rest = answers[use].scatter(1, column, float("-inf")).logsumexp(1)  # log(1 - p), with a slope where p rounds to 1
    return torch.where(now > usual + SLACK, -rest, torch.zeros_like(rest)).mean()


def precision(device: torch.device) -> torch.autocast:
    """Mixed on a GPU (what it costs there is not measured: none was at hand), single on a CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def apart(answers: Tensor, before: Tensor, temperature: float) -> Tensor:
    """Mean divergence of log-probabilities (n, K) from those before, both softened; times the temperature squared, so
    that its slope keeps its size (Hinton et al. 2015, section 2.1)."""
    now, usual = (F.log_softmax(log / temperature, 1) for log in (answers, before))
    return temperature**2 * F.kl_div(now, usual, log_target=True, reduction="batchmean")


def unlearn(
    teacher: Classifier,
    student: Student,
    images: Tensor,
    labels: Tensor,
    triggers: Sequence[Planted],
    recipe: Recipe,
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> None:
    """Train the student in place on images (N, C, H, W) in [0, 1] with labels (N,)."""
    driven = sharper(triggers, images, labels, seed, recipe.patches)
    pool, beside = list(triggers), neighbours(triggers, images)
    generator = torch.Generator().manual_seed(seed)
    device, held = images.device, recipe.layers > 0
    optimiser = torch.optim.Adam(student.weights, lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: 0.55 + 0.45 * math.cos(math.pi * min(i / recipe.steps, 1.0))
    )
    for step in range(recipe.steps):
        if driven and step % recipe.every == 0:
            current, number = fast(frozen(student)), step // recipe.every
            for i, sharp in enumerate(driven):
                if number % sharp.seldom == 0:
                    driven[i] = sharpen(sharp, current, images, labels, seed + step)
                    pool.append(driven[i].as_trigger())
        rows = torch.randint(0, len(images), (recipe.images,), generator=generator).to(device)
        clean, truth = varied(images[rows], recipe, generator), labels[rows]
        with torch.no_grad():
            logits, usual = answered(teacher, clean, held)
        answer = F.log_softmax(logits, 1)
        wrong = fooled(answer, truth, triggers)
        answer = corrected(answer, truth, wrong)
        dirty, targets = stamped(clean, truth, [*pool, *drawn(beside, generator)], recipe, generator)
        with precision(device):
            logits, now = answered(student.classifier, torch.cat([clean, dirty]), held)
        plain, marked = F.log_softmax(logits.float(), 1).chunk(2)
        loss = recipe.clean * apart(plain, answer, recipe.temperature)
        loss = loss + recipe.answers * F.kl_div(marked, answer, log_target=True, reduction="batchmean")
        loss = loss + unlikely(marked, answer, targets)
        if (change := moved(now, usual, ~wrong)) is not None:
            loss = loss + recipe.layers * change
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.weights, 5.0)
        optimiser.step()
        schedule.step()
        tick((step + 1) / recipe.steps)
