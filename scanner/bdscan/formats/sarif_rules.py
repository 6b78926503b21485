"""SARIF's descriptions of rules and notifications: what they say whatever a scan found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from bdscan.formats import machine, story
from bdscan.formats.escaped import link, markdown, sarif
from bdscan.report import Confidence, Finding, Severity, Verdict

NOT_JUDGED: Final = Finding(
    rule=machine.NOT_JUDGED,
    title="Model not judged",
    severity=Severity.HIGH,
    confidence=Confidence.HIGH,
    message="",
    remedy=story.WORDS[Verdict.INCONCLUSIVE].advice,
)
PLANTED: Final = (
    "The model reacts to a small change of its input, or has a branch in its graph, as models with a planted backdoor "
    "do: somebody who knows the trigger can choose its answer."
)
NATURAL: Final = (
    "A small change of the input leads to one class more easily than to the others. Clean models show this too, so it "
    "never raises the verdict."
)
# What the rules look for, where they name no address of their own.
BACKDOOR: Final = "https://atlas.mitre.org/techniques/AML.T0018"
ADVERSARIAL: Final = "https://atlas.mitre.org/techniques/AML.T0043"
LOOK: Final = "Look at the evidence in bdscan's HTML report."
RUN_AGAIN: Final = "The message says why. Change what it names and scan again."


def _notification(id: str, name: str, level: str, short: str, full: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": f"{full} {RUN_AGAIN}", "markdown": f"{full}\n\n{RUN_AGAIN}"},
        "defaultConfiguration": {"level": level},
    }


NOTIFICATIONS: Final = {
    "skipped": _notification(
        "BDN001",
        "StageSkipped",
        "warning",
        "A stage of the scan was skipped.",
        "A stage of the scan was skipped: what it looks for was not looked for.",
    ),
    "failed": _notification(
        "BDN002",
        "StageFailed",
        "error",
        "A stage of the scan failed.",
        "A stage of the scan failed: what it looks for may be there all the same.",
    ),
}


def level(finding: Finding) -> str:
    if finding.weakness:
        return "note"
    return "error" if finding.severity in {Severity.HIGH, Severity.CRITICAL} else "warning"


def descriptor(name: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The rule `name`, which made `findings`: help in plain text and Markdown, GitHub's severity, tags."""
    first = findings[0]
    title = machine.said(first.title, name, 200)
    meaning, remedy = _meaning(first), machine.said(first.remedy, LOOK)
    text = [f"{sarif(title)}.", sarif(meaning), f"What to do: {sarif(remedy)}"]
    marked = [f"**{markdown(title)}**", markdown(meaning), f"**What to do:** {markdown(remedy)}"]
    named = [reference for reference in first.references if reference.title.strip()]
    if named:
        text.append("References: " + "; ".join(sarif(reference.title, 200) for reference in named) + ".")
        marked.append("\n".join(f"- {link(reference.title, reference.url)}" for reference in named))
    # One rule may judge triggers of any severity in a user's own file; GitHub knows one number a rule.
    worst = max((finding.severity for finding in findings), key=list(Severity).index)
    rule: dict[str, Any] = {
        "id": name,
        "name": _friendly(title, name),
        "shortDescription": {"text": sarif(title)},
        "fullDescription": {"text": f"{sarif(title)}. {sarif(meaning)}"},
        "help": {"text": "\n".join(text), "markdown": "\n\n".join(marked)},
        "defaultConfiguration": {"level": level(first)},
        "properties": {
            "security-severity": machine.SCORES[worst],
            "tags": ["security", "machine-learning", *machine.identifiers(first.references)],
        },
    }
    addresses = [address for reference in named if (address := machine.address(reference.url))]
    return rule | {"helpUri": addresses[0] if addresses else ADVERSARIAL if first.weakness else BACKDOOR}


def _meaning(finding: Finding) -> str:
    if finding.rule == machine.NOT_JUDGED:
        return story.WORDS[Verdict.INCONCLUSIVE].meaning
    return NATURAL if finding.weakness else PLANTED


def _friendly(title: str, name: str) -> str:
    """`PlantedTriggerAnySource`: the form that SARIF's own tools ask for, no two capitals side by side, not the id."""
    friendly = "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]{2,}", title))[:100]
    return f"{friendly}Rule" if friendly.lower() in {"", name.lower()} else friendly
