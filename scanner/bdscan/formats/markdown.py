"""Markdown for the summary of a job: verdict, findings, what did not run. No images and no HTML of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bdscan.formats import machine, story
from bdscan.formats.escaped import code, link, markdown
from bdscan.formats.text import label
from bdscan.report import Finding, Report

MOST: Final = 40  # rows of any list
LARGEST: Final = 900_000  # bytes: a job's summary of more than 1 MiB is refused, not shortened


def render(report: Report) -> str:
    """The verdict first; at most `LARGEST` bytes."""
    words = story.words(report)
    blocks = [
        f"## {words.symbol} bdscan: {words.headline}",
        f"**{markdown(report.summary, 2000)}**",
        f"{words.meaning} {words.advice}",
        *((f"**{markdown(note)}**",) if (note := story.waived_note(report)) else ()),
        _facts(report),
    ]
    blocks += _section("Stages that did not run", _gaps(report))
    for suspect in story.suspects(report):
        blocks.append(f"### {markdown(suspect.name)}")
        blocks += [_finding(finding) for finding in suspect.findings]
    blocks += _section("Weaknesses (they do not raise the verdict)", _weaknesses(report))
    blocks += _section("Waivers", [_items(f"{code(name)} {markdown(what)}" for name, what in story.waivers(report))])
    blocks += _section("Not examined", [_items(markdown(each) for each in story.unseen(report))])
    return "\n\n".join(_fitting(blocks)) + "\n"


def _fitting(blocks: Sequence[str]) -> list[str]:
    kept: list[str] = []
    size = 0
    for block in blocks:
        size += len(block.encode()) + 2
        if size > LARGEST:
            return [*kept, "**This summary is cut off here: the report is longer. Read one of its other formats.**"]
        kept.append(block)
    return kept


def _section(title: str, blocks: Sequence[str]) -> list[str]:
    return [f"### {title}", *blocks] if any(blocks) else []


def _facts(report: Report) -> str:
    rows = [
        ("File", code(report.subject.path)),
        ("SHA-256", code(machine.sha256(report) or "unknown")),
        ("Subject digest", code(report.subject.digest)),
    ]
    notes = [("Note", note) for note in (*report.subject.notes, *report.samples.notes)[:MOST]]
    return _table(("", ""), [*rows, *((name, markdown(value)) for name, value in (*story.facts(report), *notes))])


def _finding(finding: Finding) -> str:
    state = "confirmed" if finding.confirmed else "not confirmed"
    rows = [
        ("Severity", f"{finding.severity.value}, confidence {finding.confidence.value}, {state}"),
        *((("Waived", markdown(waived)),) if (waived := story.waived(finding)) else ()),
        ("Works on", markdown(story.affected(finding))),
        ("Success", markdown(story.success(finding))),
        ("What to do", markdown(finding.remedy)),
        ("See", "; ".join(link(each.title, each.url) for each in finding.references[:MOST])),
    ]
    title = f"**{markdown(finding.title, 200)}** ({code(finding.rule)})"
    return "\n\n".join((title, markdown(finding.message, 2000), _table(("", ""), rows)))


def _gaps(report: Report) -> list[str]:
    rows = [(code(name), f"**{outcome}**", markdown(why)) for name, outcome, why in story.gaps(report)]
    return [_table(("Stage", "Outcome", "Why"), rows)] if rows else []


def _weaknesses(report: Report) -> list[str]:
    return [_items(f"{markdown(label(each.target))}: {markdown(each.message)}" for each in story.weaknesses(report))]


def _items(lines: Iterable[str]) -> str:
    kept = list(lines)
    return "\n".join(f"- {line}" for line in [*kept[:MOST], *_more(len(kept))])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows[:MOST], *([each, *[""] * (len(head) - 1)] for each in _more(len(rows)))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _more(count: int) -> list[str]:
    return [f"and {count - MOST} more, in the other formats"] if count > MOST else []
