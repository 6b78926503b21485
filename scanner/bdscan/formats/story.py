"""What a report says in words, shared by every format that people read."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from bdscan.formats.text import label, number, percent, seconds
from bdscan.report import COMPARISON, Failed, Finding, Label, Preprocessing, Report, Skipped, Verdict


@dataclass(frozen=True)
class Words:
    headline: str
    meaning: str
    advice: str
    symbol: str  # one character for terminals; the page draws its own


WORDS: Final[dict[Verdict, Words]] = {
    Verdict.CLEAN: Words(
        "Clean: nothing found",
        "bdscan looked, and found nothing beyond what clean networks show. That is not a proof of safety: "
        "a backdoor of a kind that was not examined can still be there.",
        "Read what was not examined before you rely on this answer.",
        "✓",
    ),
    Verdict.INCONCLUSIVE: Words(
        "Inconclusive: no answer",
        "A part of the scan that a verdict needs could not run, and the parts that ran found nothing. "
        "This is neither an alarm nor an all-clear.",
        "Treat the model as not scanned. The stages that were skipped or failed say what to change.",
        "?",
    ),
    Verdict.SUSPICIOUS: Words(
        "Suspicious: signs of a backdoor",
        "The model reacts to a small change of its input more strongly than clean models do, but the confirmation on "
        "held-out images and with a second seed did not settle it. It may be a false alarm.",
        "Do not deploy it before someone has looked at the evidence.",
        "!",
    ),
    Verdict.BACKDOOR: Words(
        "Backdoor found",
        "Something hidden in this model makes it give an answer that somebody else chose. The finding goes beyond "
        "what clean networks show and was confirmed by a second, independent check.",
        "Do not deploy this model. The evidence shows what triggers it and what it then answers.",
        "✕",
    ),
}


SWITCHED: Final = Words(
    WORDS[Verdict.SUSPICIOUS].headline,
    "The graph of this model chooses its answer by comparing values of the input, which trained classifiers do not. "
    "No trigger was recovered, so nothing could be tried on images.",
    WORDS[Verdict.SUSPICIOUS].advice,
    WORDS[Verdict.SUSPICIOUS].symbol,
)


def words(report: Report) -> Words:
    """What the verdict means, of this report."""
    alarms = [finding for finding in report.findings if not finding.weakness]
    if report.verdict is Verdict.SUSPICIOUS and alarms and all(finding.target is None for finding in alarms):
        return SWITCHED
    return WORDS[report.verdict]


@dataclass(frozen=True)
class Suspect:
    """A target that one or more findings accuse; `target` is None where a finding is about the whole model."""

    target: Label | None
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        return "The model as a whole" if self.target is None else f"Target class {label(self.target)}"


def suspects(report: Report) -> tuple[Suspect, ...]:
    """Findings that are not weaknesses, grouped by target, in the report's order."""
    groups: dict[Label | None, list[Finding]] = {}
    for finding in report.findings:
        if not finding.weakness:
            groups.setdefault(finding.target, []).append(finding)
    return tuple(Suspect(target, tuple(findings)) for target, findings in groups.items())


def weaknesses(report: Report) -> tuple[Finding, ...]:
    return tuple(finding for finding in report.findings if finding.weakness)


def gaps(report: Report) -> tuple[tuple[str, str, str], ...]:
    """Stages that could not run: (name, `skipped` or `failed`, why)."""
    return tuple(
        (stage.name, stage.outcome, stage.reason if isinstance(stage, Skipped) else stage.error)
        for stage in report.stages
        if isinstance(stage, Skipped | Failed)
    )


def unseen(report: Report) -> tuple[str, ...]:
    """What was not examined, without the stages that `gaps` tells already."""
    told = tuple(f"{name}{word}" for name, _, _ in gaps(report) for word in (": ", " failed: "))
    return tuple(each for each in report.not_examined if not each.startswith(told))


def waived(finding: Finding) -> str:
    """`through 2027-01-31: known, being retrained`; nothing where no waiver covers the finding."""
    return "" if finding.waived is None else f"through {finding.waived.expires}: {finding.waived.reason}"


def waived_note(report: Report) -> str:
    """How many findings do not count for a pipeline; nothing where all of them do."""
    count = sum(finding.waived is not None for finding in report.findings)
    if not count:
        return ""
    total = len(report.findings)
    words = f"{count} of {total} finding{'s' if total > 1 else ''} {'is' if count == 1 else 'are'} waived."
    return f"{words} Waivers change the exit code of the scan, and nothing in this report."


def all_waived(report: Report) -> bool:
    """Whether no alarm counts any more, and everything that a clean verdict needs was looked at."""
    alarms = [finding for finding in report.findings if not finding.weakness]
    return bool(alarms) and all(finding.waived for finding in alarms) and not report.lacking


WAIVERS: Final = {
    "applied": "covers a finding of this model through",
    "expired": "EXPIRED, covers nothing since",
    "unused": "UNUSED, no finding of this rule; would hold through",
    "other-model": "is for another model; holds through",
}


def waivers(report: Report) -> tuple[tuple[str, str], ...]:
    """Every waiver that the scan was given, and what came of it: (rule and whose, what)."""
    return tuple(
        (f"{each.rule} for {each.digest[:12]}", f"{WAIVERS[each.state]} {each.expires}: {each.reason}")
        for each in report.waivers
    )


def affected(finding: Finding) -> str:
    """Which inputs the trigger works on."""
    if finding.target is None:
        return "–"
    return ", ".join(label(source, 24) for source in finding.sources) or "every class (universal)"


def success(finding: Finding) -> str:
    """Held-out ASR with its interval and n, or that it was not measured."""
    if finding.asr is None:
        return "not measured"
    parts = [percent(finding.asr)]
    if finding.asr_interval is not None:
        low, high = finding.asr_interval
        parts.append(f"(95 % interval {percent(low)} to {percent(high)})")
    if finding.asr_n is not None:
        parts.append(f"of {finding.asr_n} held-out images")
    return " ".join(parts)


def preprocessing(value: Preprocessing) -> str:
    parts = [value.name, value.channel_order, value.layout]
    if value.mean or value.std:
        parts.append(f"mean {_list(value.mean)}, std {_list(value.std)}")
    parts.append("found by clean accuracy" if value.source == "probe" else "given by the user")
    if value.runner_up:
        parts.append(f"runner-up {value.runner_up} at {percent(value.runner_up_accuracy)}")
    return "; ".join(parts)


def _list(values: tuple[float, ...]) -> str:
    return " ".join(number(value) for value in values) or "–"


def calibration(report: Report) -> str:
    value = report.calibration
    known = value.false_alarm_rate is not None
    rate = (
        f"; stated false-alarm rate {percent(value.false_alarm_rate)}" if known else "; no false-alarm rate known yet"
    )
    state = "PROVISIONAL: " if value.provisional else ""
    note = f". {value.note}" if value.note else ""
    return f"{state}{value.name}, {value.references} clean reference models{rate}{note}"


def significance(report: Report) -> str:
    if report.p_value is None and not report.calibration.references:
        return "no p-value: there are no reference models yet"
    if report.p_value is None and COMPARISON in report.lacking:
        return "no p-value: the samples are of too few classes"
    if report.score is None:
        return "no p-value: nothing was measured that the reference models could be compared in"
    if report.p_value is None and report.lacking:
        return "no p-value: what the reference models were searched for could not be looked for here"
    if report.p_value is None:
        return "no p-value: the reference models were scanned at another budget, or without a rule that matters here"
    n = report.calibration.references
    more = max(round(report.p_value * (n + 1)) - 1, 0)
    return f"p = {number(report.p_value)}: {more} of {n} clean reference models look at least this suspicious"


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """The key facts as (name, value), file and digest apart."""
    subject, samples, run = report.subject, report.samples, report.run
    channels, height, width = subject.input_shape
    kind = ", ".join(part for part in (subject.format, subject.architecture) if part)
    return (
        ("Model", f"{kind}; {subject.parameters:,} parameters; output {subject.output}"),
        ("Input", f"{channels} × {height} × {width} (channels, height, width); {len(subject.classes)} classes"),
        ("Clean accuracy", f"{percent(subject.clean_accuracy)} (n = {subject.clean_accuracy_n})"),
        ("Preprocessing", preprocessing(subject.preprocessing)),
        ("Samples", f"{samples.path}: {samples.count} images, {samples.search} to search, {samples.held_out} held out"),
        ("Budget", f"{report.settings.get('budget', '–')}, seed {report.settings.get('seed', '–')}"),
        ("Significance", significance(report)),
        ("Calibration", calibration(report)),
        ("Scanned", f"{run.started}, {seconds(run.seconds)} on {run.device}, bdscan {report.tool.version}"),
    )


def command_line(report: Report) -> str:
    """The command that repeats the scan, quoted for a POSIX shell."""
    settings = dict(report.settings)
    words = ["bdscan", "scan", str(settings.pop("model", report.subject.path))]
    for key, value in settings.items():
        option = "--" + key.replace("_", "-")
        if value is None or value is False or value == ():
            continue
        if value is True:
            words.append(option)
        elif key == "detectors" and isinstance(value, tuple):
            words += [option, ",".join(value)]
        else:
            words += [
                word for item in (value if isinstance(value, tuple) else (value,)) for word in (option, str(item))
            ]
    return shlex.join(words)
