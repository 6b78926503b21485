"""How pixels must be presented, found by clean accuracy on the samples.

All usual presentations are tried on a few images, the best few again on more. The most accurate one wins; among equals
(within two standard errors) plain 0..1, unless another makes the true classes clearly more likely and the images look
more as they did in training (`norm_gap`). Accuracy is balanced (mean over classes), so that a network that names one
class for everything never looks accurate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bdscan.errors import CannotJudge
from bdscan.intake.calls import Watch
from bdscan.intake.label_names import resolve_labels
from bdscan.intake.network import Network
from bdscan.intake.norm_gap import FirstNorm
from bdscan.intake.output_kind import as_log_probabilities
from bdscan.intake.preprocessing import PLAIN, Override, candidates
from bdscan.intake.presented import Mould, Presented
from bdscan.intake.raw_samples import RawSamples, to_shape
from bdscan.intake.shapes import Option, input_options
from bdscan.report import Preprocessing

PROBE_MACS = 1e11  # work of each of the two rounds, in multiply-accumulate operations
FINALISTS = 5
LEAST = 24  # images of the first round; fewer where another size runs already, since large ones are dear
FEWER = 8
BATCH = 64
HAIR = 0.05  # nats


@dataclass(frozen=True)
class Trial:
    """One presentation over `count` images: balanced accuracy, and how well it suits the network.

    `fit` is the mean log-likelihood of the true class less the gap to the training statistics, both in nats.
    """

    preprocessing: Preprocessing
    mould: Mould
    accuracy: float
    fit: float
    count: int

    @property
    def rank(self) -> tuple[float, float]:
        return (self.accuracy, self.fit)


@dataclass(frozen=True)
class Presentation:
    """The winner, with the classes that the outputs stand for."""

    preprocessing: Preprocessing
    mould: Mould
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    macs: int


class DoesNotRun(Exception):
    """The network refuses this input shape."""


def find_presentation(
    network: Network,
    raw: RawSamples,
    names: tuple[str, ...] | None,
    override: Override,
    device: torch.device,
    seed: int,
) -> Presentation:
    """The best presentation; CannotJudge where none makes the network accurate, or it is no classifier."""
    order = balanced_order(raw.keys, seed)
    best: tuple[Trial, Presentation] | None = None
    refusals: list[str] = []
    other: CannotJudge | None = None
    for option in input_options(network, raw.size, raw.channels, override):
        try:
            least = LEAST if best is None else FEWER
            trials, presentation = _try(network, raw, names, order, option, override, device, least)
        except DoesNotRun as error:
            refusals.append(str(error))
            continue
        except CannotJudge as error:
            other = other or error
            continue
        if best is None or trials[0].rank > best[0].rank:
            best = trials[0], replace(presentation, preprocessing=_named(trials, override))
        if best[0].accuracy >= _needed(presentation.labels, 0.5):
            break
    if best is None:
        raise other or CannotJudge(_refused(network, refusals[0]))
    trial, presentation = best
    if trial.accuracy < _needed(presentation.labels, 0.3):
        found = "the given preprocessing does not make" if override.pixels else "no usual preprocessing makes"
        instead = (
            "leave --preprocessing out, so that usual ones are tried" if override.pixels else "give --preprocessing"
        )
        raise CannotJudge(
            f"clean accuracy near chance: {found} the model accurate on the samples "
            f"(best: {trial.preprocessing.name}, {trial.accuracy:.0%} of {trial.count} images); "
            f"check that images, class order (--labels) and weights belong together, or {instead}"
        )
    return presentation


def balanced_order(keys: tuple[str, ...], seed: int) -> list[int]:
    """All positions, the classes taking turns, so that every leading slice is balanced."""
    rng = np.random.default_rng(seed)
    turns: dict[str, int] = {}
    ranked = []
    for place in rng.permutation(len(keys)).tolist():
        turn = turns[keys[place]] = turns.get(keys[place], -1) + 1
        ranked.append((turn, place))
    return [place for _, place in sorted(ranked)]


def _refused(network: Network, why: str) -> str:
    """What to do about a network that runs on no image that was tried."""
    halves = {p.dtype for p in network.module.parameters() if p.dtype in (torch.float16, torch.bfloat16)}
    if halves:
        kind = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in halves))
        return (
            f"the model's weights are {kind} and it does not run on float32 images ({why}); save it with model.float()"
        )
    return f"the model runs on no usual image size ({why}); give its own: --preprocessing size=HEIGHTxWIDTH"


def _needed(labels: tuple[int, ...], share: float) -> float:
    """The accuracy that lies this share of the way from chance to perfect."""
    chance = 1 / len(set(labels))
    return chance + share * (1 - chance)


def _try(
    network: Network,
    raw: RawSamples,
    names: tuple[str, ...] | None,
    order: list[int],
    option: Option,
    override: Override,
    device: torch.device,
    fewest: int,
) -> tuple[list[Trial], Presentation]:
    """All candidates at one input shape, best first."""
    mould, layout = option
    channels = mould.shape[0]
    pixels = (override.pixels,) if override.pixels else candidates(channels)
    pool = [_in_layout(item, layout, channels) for item in pixels]
    outputs, macs = _first_run(network, raw, order, pool[0], mould, device)
    labels, classes = resolve_labels(raw, outputs, names)
    presentation = Presentation(pool[0], mould, tuple(labels), classes, macs)
    trials: list[Trial] = []
    for least, most in ((fewest, 48), (48, 200)):
        count = int(min(most, max(least, PROBE_MACS // (max(macs, 1) * len(pool)))))
        places = order[:count]
        images = to_shape(_take(raw, places), mould.shape).float() / 255
        truth = torch.tensor([labels[place] for place in places])
        trials = [_measure(network, item, mould, images, truth, device) for item in pool]
        trials = _ranked(trials)
        if len(places) == len(order) or len(pool) == 1 or trials[0].accuracy < _needed(presentation.labels, 0.2):
            break
        pool = [trial.preprocessing for trial in trials[:FINALISTS]]
    if trials[0].accuracy < 0:
        raise CannotJudge("the model's outputs are NaN or infinite on clean images")
    return trials, presentation


def _ranked(trials: list[Trial]) -> list[Trial]:
    """By accuracy, but first the one of best fit among those within two standard errors of the best.

    Robust networks are as accurate under a wrong mean and deviation as under their own. Where a network is right on
    every sample, larger inputs only make it surer: 0..255 would win by a hundredth of a nat, and its gradients vanish.
    """
    ordered = sorted(trials, key=lambda trial: trial.rank, reverse=True)
    best = ordered[0]
    share = (max(best.accuracy, 0.0) * best.count + 1) / (best.count + 2)  # all of a hundred is no certainty
    error = (share * (1 - share) / best.count) ** 0.5
    equals = [trial for trial in ordered if trial.accuracy >= best.accuracy - 2 * error]
    first = max(equals, key=lambda trial: trial.fit)
    plain = [trial for trial in equals if trial.preprocessing.name == PLAIN]
    if plain and plain[0].fit >= first.fit - HAIR:
        first = plain[0]
    return [first, *(trial for trial in ordered if trial is not first)]


def _take(raw: RawSamples, places: list[int]) -> RawSamples:
    return replace(raw, images=tuple(raw.images[i] for i in places), keys=tuple(raw.keys[i] for i in places))


def _in_layout(item: Preprocessing, layout: str, channels: int) -> Preprocessing:
    if len(item.mean) not in (0, 1, channels) or len(item.std) not in (0, 1, channels):
        raise CannotJudge(f"the given mean and std do not fit a model of {channels} channels")
    order = "grey" if channels == 1 else item.channel_order
    return item.model_copy(update={"layout": layout, "channel_order": order})


def _first_run(
    network: Network, raw: RawSamples, order: list[int], item: Preprocessing, mould: Mould, device: torch.device
) -> tuple[int, int]:
    """How many outputs the network has, and multiply-accumulates an image."""
    images = to_shape(_take(raw, order[: network.batch or 2]), mould.shape).float().to(device) / 255
    watch = Watch()
    try:
        with torch.no_grad(), watch:
            scores = Presented(network.module, item, mould)(images)
    except (CannotJudge, MemoryError):
        raise
    except Exception as error:  # the network's own code refuses the shape, each library in its own way
        raise DoesNotRun(" ".join(str(error).split())[:160]) from None
    return scores.shape[1], watch.macs // len(images)


def _measure(
    network: Network, item: Preprocessing, mould: Mould, images: Tensor, truth: Tensor, device: torch.device
) -> Trial:
    presented = Presented(network.module, item, mould)
    first, *rest = torch.split(images, BATCH)
    norm = FirstNorm()
    with torch.no_grad():
        with norm:
            scores = [presented(first.to(device)).cpu()]
        scores += [presented(part.to(device)).cpu() for part in rest]
    outputs = torch.cat(scores)
    if not bool(torch.isfinite(outputs).all()):
        return Trial(item, mould, -1.0, -1e9, len(truth))
    likelihood = float(as_log_probabilities(outputs).gather(1, truth[:, None]).mean())
    return Trial(item, mould, balanced_accuracy(outputs, truth), likelihood - (norm.gap() or 0.0), len(truth))


def balanced_accuracy(scores: Tensor, truth: Tensor) -> float:
    """Mean over the classes present of the share that is classified right."""
    right = scores.argmax(1) == truth
    return float(torch.stack([right[truth == label].double().mean() for label in torch.unique(truth)]).mean())


def _named(trials: list[Trial], override: Override) -> Preprocessing:
    first = trials[0].preprocessing
    if len(trials) < 2:
        return first
    second = trials[1]
    return first.model_copy(
        update={"runner_up": second.preprocessing.name, "runner_up_accuracy": max(second.accuracy, 0.0)}
    )
