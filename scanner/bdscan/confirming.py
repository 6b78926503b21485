"""Confirmation as a stage of a scan: universal triggers, then pairs, then what is only weak; one line in the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bdscan import judge, report
from bdscan.detectors import confirmation
from bdscan.detectors.interface import Budget
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.intake.classifier import Scannable
from bdscan.rules import Rule
from bdscan.stages import Progress, Story, one_line
from bdscan.suspects import alarming, weak

NAME = confirmation.about.name
REFINED = ("inversion.dms", "inversion.adaptive")  # they show more of what the plain inversions found


@dataclass
class Confirming:
    """`subject` judges and `searching`, its faster twin, searches; what they find goes into the story."""

    story: Story
    subject: Scannable
    searching: Scannable
    rules: tuple[Rule, ...]
    budget: Budget
    progress: Progress
    seconds: float = 0.0
    error: str = ""
    looked_at: int = 0  # candidates that earlier calls have seen
    share: float = 0.0  # of the stage, as progress tells it

    def universal(self) -> None:
        """Confirm new triggers from every class; what is certain becomes `planted`."""
        new = [c for c in self.candidates() if not c.sources][self.looked_at :]
        self.looked_at += len(new)
        self._part(self.share, self.share + 0.3, lambda: self._again(new))
        sure = [c for c in self.story.confirmed if judge.is_planted(self.rules, c)]
        self.story.planted = frozenset(c.trigger.target for c in sure if not c.trigger.sources)

    def pairs(self) -> None:
        self._part(0.6, 0.9, lambda: self._again([c for c in self.candidates() if c.sources]))

    def end(self) -> None:
        """Try what is only weak on held-out images, and tell what came of the stage."""
        self._part(0.9, 1.0, self._weak)
        confirmed = self.story.confirmed
        stage: report.Measured | report.Skipped | report.Failed
        if self.error:
            stage = report.Failed(name=NAME, error=self.error)
        elif not confirmed:
            stage = report.Skipped(name=NAME, reason="no inversion left a trigger to confirm")
        elif not all(c.n for c in confirmed if c.repeat is not None) or not any(c.n for c in confirmed):
            untried = sum(not c.n for c in confirmed)
            reason = f"of {len(confirmed)} triggers {untried} had no held-out image to move: give more images"
            stage = report.Skipped(name=NAME, reason=reason)
        else:
            worked = sum(c.asr >= 0.75 for c in confirmed)
            text = f"triggers tried on held-out images: {len(confirmed)}; that succeed on 75 % or more: {worked}"
            stage = report.Measured(name=NAME, summary=text)
        self.story.stages.append(stage)
        self.story.seconds.append(report.StageSeconds(name=NAME, seconds=round(self.seconds, 3)))

    def candidates(self) -> list[Candidate]:
        return [c for name, m in self.story.measured.items() if name not in REFINED for c in m.candidates]

    def _again(self, candidates: list[Candidate]) -> None:
        found = alarming(self.rules, candidates)
        self.story.suspected += found
        if found:
            self.story.confirmed += confirmation.confirm(
                self.subject,
                self.searching.classifier,
                found,
                self.budget.name,
                self.budget.seed,
                settled=lambda c: judge.is_planted(self.rules, c),
            )

    def _weak(self) -> None:
        found = weak(self.rules, self.candidates(), self.story.suspected)
        self.story.confirmed += [confirmation.try_out(self.subject, c) for c in found]

    def _part(self, begin: float, end: float, do: Callable[[], None]) -> None:
        began = time.perf_counter()
        self.progress(NAME, begin)
        try:
            do()
        except Exception as error:  # it must show in the report and must not end the scan
            self.error = self.error or one_line(error)
        self.seconds += time.perf_counter() - began
        self.progress(NAME, end)
        self.share = end
