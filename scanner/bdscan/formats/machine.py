"""What the formats for other programs share: strings that are never empty, the model's place, who a finding is."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from bdscan.formats import story
from bdscan.formats.text import shorten, visible, web_address
from bdscan.report import Finding, Reference, Report, Severity

# CVSS-like numbers, one inside each band that GitHub and others cut the range into.
SCORES: Final = {Severity.LOW: "2.0", Severity.MEDIUM: "5.5", Severity.HIGH: "8.0", Severity.CRITICAL: "9.5"}
CATALOGUES: Final = (
    ("MITRE ATLAS", re.compile(r"\bAML\.TA?\d{4}(?:\.\d{3})?\b")),
    ("OWASP", re.compile(r"\b(?:ML|LLM)\d{2}:20\d{2}\b")),
)
# Everything that RFC 3986 lets stand in an address; the rest is percent-encoded.
IN_ADDRESS: Final = ":/?#[]@!$&'()*+,;=%"
NOT_JUDGED: Final = "BD000"  # the entry of an inconclusive scan: no list of findings may be empty because of it
SHA256: Final = re.compile(r"[0-9a-f]{64}")


def said(text: str, otherwise: str = "not given", length: int = 4000) -> str:
    """`text` made visible, on one line; `otherwise` where nothing would be left."""
    return shorten(visible(text).strip(), length) or otherwise


def model_uri(report: Report) -> str:
    """The model's path from the root of the repository, as a relative URI; its bare name where it lies outside."""
    path = posixpath.normpath(report.run.model_in_repository or report.subject.path)
    if path.startswith(("/", "../")):
        path = posixpath.basename(path)
    return "model" if path in {"", ".", ".."} else quote(path, safe="/", errors="replace")


def model_name(report: Report) -> str:
    return said(posixpath.basename(report.subject.path), "model", 200)


def sha256(report: Report) -> str | None:
    """Of the model file itself, where the report holds a well-formed one."""
    digests = [file.sha256 for file in report.subject.files if file.role == "model"]
    return next((digest for digest in digests if SHA256.fullmatch(digest)), None)


def rule_id(finding: Finding) -> str:
    return said(finding.rule, "unnamed-rule", 200)


def fingerprints(findings: Iterable[Finding]) -> list[str]:
    """One a finding, the same in every scan: of the rule and the class indices, not of names, numbers or the digest.

    A model that was trained again and still has the finding keeps its fingerprint. `:2` marks a second one alike.
    """
    seen: dict[str, int] = {}
    out = []
    for finding in findings:
        target = None if finding.target is None else finding.target.index
        who = repr((finding.rule, target, [source.index for source in finding.sources]))
        digest = hashlib.sha256(who.encode(errors="replace")).hexdigest()[:16]
        seen[digest] = seen.get(digest, 0) + 1
        out.append(f"{digest}:{seen[digest]}")
    return out


def account(finding: Finding) -> str:
    """The finding in a few sentences: its message, how often the trigger works, whether that was confirmed."""
    parts = [said(finding.message, said(finding.title, "A rule fired."))]
    if finding.asr is not None:
        parts.append(f"Success on held-out images: {story.success(finding)}.")
    if finding.weakness:
        parts.append("A weakness, as clean models have them too: it does not raise the verdict.")
    else:
        parts.append("Confirmed by a second check." if finding.confirmed else "Not confirmed by a second check.")
    if finding.waived is not None:
        parts.append(f"Waived {said(story.waived(finding))}")
    return " ".join(parts)


def identifiers(references: Iterable[Reference]) -> tuple[str, ...]:
    """Entries of public catalogues that the references name, such as `MITRE ATLAS AML.T0018`."""
    found: dict[str, None] = {}
    for reference in references:
        for catalogue, pattern in CATALOGUES:
            for match in pattern.findall(f"{reference.title} {reference.url}"):
                found[f"{catalogue} {match}"] = None
    return tuple(found)


def address(url: str) -> str | None:
    """`url` with what may not stand in one percent-encoded; None where it is no plain http or https address."""
    return quote(url, safe=IN_ADDRESS) if web_address(url) else None


def started(report: Report) -> datetime | None:
    """When the scan began, in UTC; None where the report does not say it as a date."""
    try:
        moment = datetime.fromisoformat(report.run.started)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def ended(report: Report) -> datetime | None:
    begun = started(report)
    try:
        return None if begun is None else begun + timedelta(seconds=max(report.run.seconds, 0))
    except OverflowError:
        return None
