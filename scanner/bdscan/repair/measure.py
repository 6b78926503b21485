"""What a repair is judged by: held-out accuracy, the success of triggers, and whether the backdoor comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn import functional as F

from bdscan.detectors.common import label_of
from bdscan.intake.classifier import Classifier, Scannable
from bdscan.intake.speed import fast
from bdscan.repair.outcome import Accuracy, Rate, Relearn, Strongest, TriggerEffect
from bdscan.repair.planted import Planted
from bdscan.repair.sharpen import elsewhere, sharpen
from bdscan.repair.sharper import sharper
from bdscan.repair.student import Student, frozen, student_of

Images = tuple[Tensor, Tensor]  # (N, C, H, W) in [0, 1] and labels (N,)
RELEARN_STEPS, RELEARN_RATE, POISONED = 20, 5e-4, 8
OTHERS = 3  # classes that no trigger led to, to compare with
SEARCHES = 4  # of `sharpen`, one after the other
FAR = 10.0  # points of accuracy beyond what may be lost; so much is no repair, whether or not so few images prove it


def right(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """bool (N,): images (N, C, H, W) that the classifier gets right."""
    return (classifier.predict(images).argmax(1) == labels).cpu()


def accuracy(before: Tensor, after: Tensor) -> Accuracy:
    """From which held-out images each model gets right, bool (N,). The test is paired: with fifty images one is two
    points, so a drop counts only where more images were lost than chance would lose."""
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    changed = lost + gained
    p = float(binomtest(lost, changed, 0.5, alternative="greater").pvalue) if changed else 1.0
    count = len(before)
    return Accuracy(
        before=Rate(hits=int(before.sum()), n=count),
        after=Rate(hits=int(after.sum()), n=count),
        lost=lost,
        gained=gained,
        p_value=p,
    )


def too_much(accuracy: Accuracy, most_points: float) -> bool:
    """Whether more was lost than is allowed, and more than chance explains."""
    lost = points(accuracy)
    return lost > most_points and (accuracy.significant or lost > most_points + FAR)


def points(accuracy: Accuracy) -> float:
    """How many percentage points of clean accuracy were lost; below 0 where some were won."""
    return 100 * (accuracy.before.value - accuracy.after.value)


def success(classifier: Classifier, trigger: Planted, images: Tensor, labels: Tensor, use: Tensor) -> Rate:
    """Success on the images of the trigger's sources among those that `use` (N,) allows."""
    rows = trigger.victims(labels) & use.to(labels.device)
    chosen = images[rows]
    hits = classifier.predict(trigger.stamp(chosen, 1.0)).argmax(1) == trigger.target if len(chosen) else rows[:0]
    return Rate(hits=int(hits.sum()), n=len(chosen))


def strongest(
    classifier: Classifier,
    trigger: Planted,
    train: Images,
    held_out: Images,
    use: Tensor,
    seed: int,
) -> Rate | None:
    """Success on held-out images of the patch at the trigger's places, or the warp or pattern of up to twice its size,
    that works best on the images it was searched on; None for triggers that have none (`sharper`), and where there are
    no gradients."""
    if not classifier.differentiable:
        return None
    quick, everything = fast(classifier), torch.ones(len(train[1]), dtype=torch.bool)
    best: tuple[float, Rate] | None = None
    for sharp in sharper([trigger], *train, seed):
        sharp = elsewhere(sharp, seed)
        for number in range(SEARCHES):
            sharp = sharpen(sharp, quick, *train, seed + number)
        known = success(classifier, sharp.as_trigger(), *train, everything).value
        if best is None or known > best[0]:
            best = known, success(classifier, sharp.as_trigger(), *held_out, use)
    return best[1] if best else None


def effects(
    subject: Scannable,
    repaired: Classifier,
    triggers: Sequence[Planted],
    train: Images,
    held_out: Images,
    seed: int,
) -> tuple[TriggerEffect, ...]:
    """Each trigger's success before and after, on held-out images that the original gets right."""
    known = right(subject.classifier, *held_out)

    def patched(trigger: Planted) -> Strongest | None:
        before, after = (strongest(c, trigger, train, held_out, known, seed) for c in (subject.classifier, repaired))
        return Strongest(before=before, after=after) if before and after else None

    return tuple(
        TriggerEffect(
            target=label_of(subject, t.target),
            sources=tuple(label_of(subject, s) for s in t.sources),
            family=t.family,
            before=success(subject.classifier, t, *held_out, known),
            after=success(repaired, t, *held_out, known),
            strongest=patched(t),
        )
        for t in triggers
    )


def relearn(
    student: Student, triggers: Sequence[Planted], train: Images, held_out: Images, classes: int, seed: int
) -> Relearn:
    """Teach copies of the student the first trigger anew, as an attacker with a little access would; and, to compare,
    the same one for OTHERS classes that none of `triggers` led to."""
    first, taken = triggers[0], {t.target for t in triggers} | set(triggers[0].sources)
    draw = torch.randperm(classes, generator=torch.Generator().manual_seed(seed)).tolist()
    free = [c for c in draw if c not in taken][:OTHERS]
    everything = torch.ones(len(held_out[1]), dtype=torch.bool)

    def taught(target: int) -> Rate:
        trigger = replace(first, target=target)
        return success(_taught(student, trigger, train, seed), trigger, *held_out, everything)

    controls = [taught(c) for c in free]
    return Relearn(
        steps=RELEARN_STEPS,
        poisoned=min(POISONED, int(first.victims(train[1]).sum())),
        before=success(frozen(student), first, *held_out, everything),
        after=taught(first.target),
        elsewhere=Rate(hits=sum(r.hits for r in controls), n=sum(r.n for r in controls)) if controls else None,
    )


def _taught(student: Student, trigger: Planted, train: Images, seed: int) -> Classifier:
    """A copy fine-tuned on clean images and POISONED stamped ones."""
    images, labels = train
    copy = student_of(frozen(student))
    generator = torch.Generator().manual_seed(seed)
    victims = trigger.victims(labels).nonzero()[:, 0].cpu()
    few = victims[torch.randperm(len(victims), generator=generator)[:POISONED]].to(labels.device)
    poisoned = trigger.stamp(images[few], 1.0)
    target = torch.full((len(few),), trigger.target, device=labels.device)
    optimiser = torch.optim.Adam(copy.weights, lr=RELEARN_RATE)
    for _ in range(RELEARN_STEPS):
        rows = torch.randint(0, len(images), (32,), generator=generator).to(labels.device)
        logits = copy.classifier(torch.cat([images[rows], poisoned]))
        loss = F.cross_entropy(logits, torch.cat([labels[rows], target]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return frozen(copy)
