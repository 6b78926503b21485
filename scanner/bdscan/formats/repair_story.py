"""What the report of a repair says in words, and which parts of its two scans belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bdscan.formats.plots.bars import drawn_values
from bdscan.formats.story import Words, preprocessing
from bdscan.formats.text import label, number, percent, seconds, shorten, visible
from bdscan.report import Bars, Failed, Finding, Measured, Report, Skipped, Stage, TriggerParameters

if TYPE_CHECKING:
    from bdscan.repair.outcome import Accuracy, Cut, Distance, Relearn, Repair, TriggerEffect

REPAIRED: Final = Words(
    "Repaired",
    "The triggers of the first scan were unlearned with clean images, and the result was scanned like a file from a "
    "stranger. That scan found nothing beyond what clean networks show. It is no proof of safety: what the first scan "
    "could not see, the second cannot see either.",
    "Read what the second scan did not examine, and how easily the trigger comes back, before you rely on the result.",
    "✓",
)
CUT: Final = Words(
    "Repaired: the branch was cut",
    "The graph of the first scan chose its answers by a comparison on the image. That choice was made a constant, the "
    "one that all clean images take, and what only served it was dropped; on the clean images every output is bit by "
    "bit the original's. The result was scanned like a file from a stranger, and that scan found nothing beyond what "
    "clean networks show. It is no proof of safety: a branch in plain arithmetic may not have been seen.",
    "Read what the second scan did not examine before you rely on the result, and ask who put the branch there.",
    "✓",
)
REJECTED: Final = Words(
    "Rejected: do not use the result",
    "The repaired model did not pass its own check. It was kept under a name that ends in .rejected, to be looked at.",
    "Do not deploy it, nor the original. Get the model from a source you trust, or repair it again with more clean "
    "images or a larger budget.",
    "✕",
)
MOST_PLOTS: Final = 40
MOST_SWITCHES: Final = 20
MOST_FAMILIES: Final = 12


@dataclass(frozen=True)
class Trigger:
    """A trigger that was unlearned, and the finding of the first scan that shows it (None where no finding does)."""

    effect: TriggerEffect
    finding: Finding | None

    @property
    def name(self) -> str:
        known = " (shown as a weakness)" if self.finding is not None and self.finding.weakness else ""
        return f"{shorten(self.effect.family, 40)} trigger to class {label(self.effect.target)}{known}"

    @property
    def heading(self) -> str:
        return self.name[:1].upper() + self.name[1:]


@dataclass(frozen=True)
class Switched:
    """A value of the graph that a repair made constant, in words."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Sizes:
    """The plots of one search before and after; `why` says what is missing. `axis`: values that both axes hold."""

    title: str
    family: str
    before: Bars | None
    after: Bars | None
    why: str
    axis: tuple[float, ...]


def reasons(repair: Repair) -> tuple[str, ...]:
    """Why the result is not to be used; empty where it is repaired."""
    if repair.outcome == "rejected":
        return repair.reasons or ("the report gives no reason",)
    return ()


def words(repair: Repair) -> Words:
    """What the outcome means."""
    if reasons(repair):
        return REJECTED
    return CUT if repair.cut is not None and not repair.rounds else REPAIRED


def switched(repair: Repair) -> tuple[Switched, ...]:
    """The switches that were cut; names from the file are shown inert, and short."""
    out = []
    for each in repair.cut.switches if repair.cut is not None else ():
        made_by, constant, value = (short(text) for text in (each.made_by, each.constant, each.value))
        used_by = ", ".join(short(text) for text in each.used_by[:4])
        how = f"{made_by or 'given'}, switches {used_by}" if used_by else made_by or "given"
        out.append(Switched(f"branch at {value} ({how})", "by the image", f"always {constant}"))
    return tuple(out)


def short(text: str) -> str:
    return shorten(visible(text), 60)


def cut(done: Cut, trained: bool = False) -> str:
    """What the cut was checked by; `trained` where weights were changed after it."""
    nodes = f"{done.removed} node{'' if done.removed == 1 else 's'}"
    return (
        f"On all {done.images} clean images, those held out among them, each of these values was the same, alone and "
        f"in company. They are constants now, and the graph has {nodes} less. Every output on these images "
        + ("was, before weights were trained, " if trained else "is ")
        + "bit by bit what it was, as onnxruntime computes it, and the graph check finds no branch any more."
    )


def paired_test(accuracy: Accuracy) -> str:
    """The paired test of held-out accuracy, in words."""
    images, lost, gained = accuracy.before.n, accuracy.lost, accuracy.gained
    if not lost and not gained:
        return f"Both models are right on the same of the {images} held-out images: none was lost, none gained."
    chance = "more than" if accuracy.significant else "no more than"
    return (
        f"Of {images} held-out images, {lost} {'was' if lost == 1 else 'were'} lost (right before, wrong after) and "
        f"{gained} gained. If losses and gains were equally likely, as many losses as this would come with "
        f"p = {number(accuracy.p_value)} (one-sided sign test on the images that changed): {chance} chance explains."
    )


def allowed_drop(repair: Repair) -> str:
    most = repair.settings.get("max_accuracy_drop")
    if not isinstance(most, int | float):
        return ""
    points = f"{number(most)} point{'' if most == 1 else 's'}"
    return (
        f"The repair is rejected where more than {points} are lost and chance does not explain the loss, or ten points "
        "more than that, whatever chance says."
    )


def relearned(probe: Relearn) -> str:
    return (
        f"A copy of the repaired model was fine-tuned for {probe.steps} steps, as somebody with a little access could, "
        f"on clean images and on {probe.poisoned} that carry the first trigger with the attacker's label. The trigger "
        f"then works on {percent(probe.after.value) if probe.after.n else 'an unknown share'} of the held-out images; "
        f"before, on {percent(probe.before.value) if probe.before.n else 'an unknown share'}. "
        + elsewhere(probe)
        + "This does not enter the outcome: it tells how near the backdoor still is for whoever trains the model on."
    )


def elsewhere(probe: Relearn) -> str:
    if probe.elsewhere is None or not probe.elsewhere.n:
        return ""
    return (
        f"Taught in the same way for classes that it never led to, it works on {percent(probe.elsewhere.value)}: "
        "so much is no memory of the backdoor. "
    )


def apart(distance: Distance) -> str:
    change = "larger" if distance.increase >= 0 else "smaller"
    return (
        f"Natural weaknesses were unlearned too. To send images of one class to another, a trigger takes "
        f"{number(distance.before)} pixels before and {number(distance.after)} after the repair, on the mean of "
        f"{distance.pairs} pairs of classes; pair by pair it is {percent(abs(distance.increase))} {change}. "
        "Both come from one short search from the same images: only their relation counts."
    )


def triggers(repair: Repair) -> tuple[Trigger, ...]:
    """Each trigger that was unlearned, with the finding that holds its parameters.

    What the scan of a first result named (`Repair.between`) comes first.
    """
    later = _holding(repair.between) if repair.between is not None else []
    named = sum(not finding.weakness for _, finding in later)
    parts = ((repair.triggers[:named], later), (repair.triggers[named:], _holding(repair.before)))
    out = []
    for effects, held in parts:
        known: dict[object, list[Finding]] = {}
        for key, finding in reversed(held):
            known.setdefault(key, []).append(finding)
        out += [Trigger(each, known[_key(each)].pop() if known.get(_key(each)) else None) for each in effects]
    return tuple(out)


def _holding(report: Report) -> list[tuple[object, Finding]]:
    """The findings with a trigger's parameters, one for each trigger, with the trigger's key."""
    return [(_key(e), f) for f in report.findings for e in f.evidence if isinstance(e, TriggerParameters)]


def _key(each: TriggerEffect | TriggerParameters) -> tuple[str, int, tuple[int, ...]]:
    return each.family, each.target.index, tuple(source.index for source in each.sources)


def sizes(repair: Repair) -> tuple[Sizes, ...]:
    """Trigger sizes by class of each search, before beside after; the unlearned targets are highlighted in both."""
    targets = {effect.target.index for effect in repair.triggers}
    before, after = _searches(repair.before), _searches(repair.after)
    out = []
    for key in list(dict.fromkeys((*before, *after)))[:MOST_PLOTS]:
        stage, title, _ = key
        pair = (_marked(before.get(key), "Before", targets), _marked(after.get(key), "After", targets))
        gaps = [
            f"No such plot {when} the repair: {_why(report.stages, stage)}."
            for bars, when, report in zip(pair, ("before", "after"), (repair.before, repair.after), strict=True)
            if bars is None
        ]
        out.append(
            Sizes(
                title=f"{title}, {stage}" if stage.partition(".")[2] not in title else title,
                family=stage.partition(".")[2],
                before=pair[0],
                after=pair[1],
                why=" ".join(gaps),
                axis=tuple(value for bars in pair if bars is not None for value in drawn_values(bars)),
            )
        )
    return tuple(out)


def _searches(report: Report) -> dict[tuple[str, str, int], Bars]:
    """By stage, title, and how many of that title the stage drew before."""
    drawn: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, str, int], Bars] = {}
    for stage in report.stages:
        if isinstance(stage, Measured) and stage.name.startswith("inversion"):
            for evidence in stage.evidence:
                if isinstance(evidence, Bars):
                    key = (stage.name, evidence.title)
                    found[*key, drawn[key]] = evidence
                    drawn[key] += 1
    return found


def _marked(bars: Bars | None, when: str, targets: set[int]) -> Bars | None:
    if bars is None:
        return None
    marked = tuple(bar.model_copy(update={"highlighted": bar.label.index in targets}) for bar in bars.bars)
    return bars.model_copy(update={"title": f"{when} the repair", "bars": marked})


def _why(stages: Iterable[Stage], name: str) -> str:
    stage = next((stage for stage in stages if stage.name == name), None)
    if stage is None:
        return "the scan had no such stage"
    if isinstance(stage, Skipped):
        return f"skipped, {stage.reason}"
    return f"failed, {stage.error}" if isinstance(stage, Failed) else "the stage drew none"


def families(repair: Repair) -> tuple[str, ...]:
    """Those that a round has a ratio of, at most `MOST_FAMILIES`."""
    return tuple(dict.fromkeys(name for each in repair.rounds for name in each.ratios))[:MOST_FAMILIES]


def facts(repair: Repair) -> tuple[tuple[str, str], ...]:
    """The key facts as (name, value)."""
    subject, samples, run = repair.after.subject, repair.after.samples, repair.after.run
    channels, height, width = subject.input_shape
    kind = ", ".join(part for part in (subject.format, subject.architecture) if part)
    machine = f"{run.device}, {run.threads} thread{'' if run.threads == 1 else 's'}"
    return (
        ("Model", f"{kind}; {subject.parameters:,} parameters"),
        ("Input", f"{channels} × {height} × {width} (channels, height, width); {len(subject.classes)} classes"),
        ("Preprocessing", preprocessing(subject.preprocessing)),
        (
            "Samples",
            f"{samples.path}: {samples.count} images, {samples.search} to repair with, {samples.held_out} held out",
        ),
        ("First scan", f"{repair.before.run.started}, bdscan {repair.before.tool.version}"),
        ("Second scan", f"{run.started}, bdscan {repair.after.tool.version}"),
        (
            "Repair",
            f"{seconds(repair.seconds)} with the second scan, on {machine}",
        ),
        ("Isolation", repair.after.isolation.level),
    )


def files(repair: Repair) -> tuple[tuple[str, str, int | None, str], ...]:
    """(path, what it is, bytes, SHA-256) of every file that this report speaks of."""
    before = [file for file in repair.before.subject.files if file.role != "model"]
    after = [file for file in repair.after.subject.files if file.role == "sidecar"]
    named = [(repair.source, "model before")]
    named += [(file, f"{file.role} before") for file in before]
    if repair.result is not None:
        named.append((repair.result, "model after"))
    named += [(file, f"{file.role} after") for file in after]
    rows: list[tuple[str, str, int | None, str]] = [(file.path, what, file.bytes, file.sha256) for file, what in named]
    rows.append(("report of the first scan", "triggers and branches", None, repair.report_digest))
    rows.append((repair.before.samples.path, "samples before", None, repair.before.samples.digest))
    rows.append((repair.after.samples.path, "samples of the repair", None, repair.after.samples.digest))
    return tuple(rows)


def settings(repair: Repair) -> dict[str, object]:
    """Of the repair, then those of its scan that the repair does not name."""
    return {**repair.settings, **{k: v for k, v in repair.after.settings.items() if k not in repair.settings}}
