"""Confirmation as a stage of a scan: universal triggers, then pairs, then what is only weak; one line in the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from bdscan import judge, report
from bdscan.detectors import confirmation, crossed, standout, unexplained
from bdscan.detectors.interface import Budget
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.intake.classifier import Scannable
from bdscan.rules import Rule, may_read
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
    led: dict[judge.Key, Candidate] = field(default_factory=dict)  # pairs that were looked at, with what that found

    def universal(self) -> None:
        """Confirm new triggers from every class; what is certain becomes `planted`."""
        new = [c for c in self.candidates() if not c.sources][self.looked_at :]
        self.looked_at += len(new)
        self._part(self.share, self.share + 0.3, lambda: self._again(new))
        sure = [c for c in self.story.confirmed if judge.is_planted(self.rules, c)]
        self.story.planted = frozenset(c.trigger.target for c in sure if not c.trigger.sources)

    def pairs(self) -> None:
        """Those of each stage by themselves: what one calls suspicious does not crowd out what another does."""
        found = [c for c in self.candidates() if c.sources]
        self._part(0.6, 0.8, lambda: self._again([c for c in found if c.metrics.get("contrast")]))
        self._part(0.8, 0.9, lambda: self._again([c for c in found if not c.metrics.get("contrast")]))

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
        """All that inversions left, with what was measured of them since; a pair that two stages found is one."""
        left = [c for name, m in self.story.measured.items() if name not in REFINED for c in m.candidates]
        left = [c if c.sources else self._with_unexplained(c) for c in left]
        pairs: dict[judge.Key, Candidate] = {}
        for c in left:
            if c.sources:
                key = judge.key_of(c)
                known = pairs.get(key)
                pairs[key] = c if known is None else replace(known, metrics=_leaning(known.metrics, c.metrics))
        return [*(c for c in left if not c.sources), *(pairs | self.led).values()]

    def _with_unexplained(self, c: Candidate) -> Candidate:
        measured = self.story.measured.get(unexplained.about.name)
        known = {} if measured is None else {"unexplained": measured.scores[c.target]}
        return replace(c, metrics={**c.metrics, **known})

    def _again(self, candidates: list[Candidate]) -> None:
        """Search for the alarming ones again. Cheap figures first: what they rule out needs no second search."""
        fast, name, seed = self.searching.classifier, self.budget.name, self.budget.seed
        found = alarming(self.rules, candidates)
        with self._noting_errors():
            found = crossed.with_leads(self.subject, fast, found, self.budget, self._hangs_on)
            self.led |= {judge.key_of(c): c for c in found if c.sources}
        found = alarming(self.rules, found)
        self.story.suspected += found
        if not found:
            return
        confirmed = confirmation.confirm(
            self.subject, fast, found, name, seed, settled=lambda c: judge.is_planted(self.rules, c)
        )
        with self._noting_errors():
            confirmed = crossed.search_other_half(self.subject, fast, confirmed, name, seed, self._other_half_tells)
        with self._noting_errors():
            universal = [c for c in confirmed if not c.trigger.sources and judge.alarm(self.rules, c)]
            rivals = len({c.trigger.target for c in universal}) > 1
            confirmed = standout.with_leads(
                self.subject, fast, confirmed, self.budget, lambda c, name: self._lead_tells(c, name, rivals)
            )
        self.story.confirmed += confirmed

    def _other_half_tells(self, c: confirmation.Confirmation) -> bool:
        return not judge.is_planted(self.rules, c) and self._hangs_on(c.trigger, "other_ratio", c.metrics)

    def _lead_tells(self, c: confirmation.Confirmation, name: str, rivals: bool) -> bool:
        """Where an alarm hangs on it, or several targets alarm: a natural one may be among them."""
        if rivals and judge.alarm(self.rules, c):
            return True
        return not judge.is_planted(self.rules, c) and self._hangs_on(c.trigger, name, c.metrics)

    def _hangs_on(self, c: Candidate, metric: str, known: Mapping[str, float] | None = None) -> bool:
        return may_read(self.rules, c.family, not c.sources, c.metrics if known is None else known, metric)

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """An error must show in the report; it must not end the scan, nor take what was found before."""
        try:
            yield
        except Exception as error:
            self.error = self.error or one_line(error)

    def _weak(self) -> None:
        found = weak(self.rules, self.candidates(), self.story.suspected)
        self.story.confirmed += [confirmation.try_out(self.subject, c) for c in found]

    def _part(self, begin: float, end: float, do: Callable[[], None]) -> None:
        began = time.perf_counter()
        self.progress(NAME, begin)
        with self._noting_errors():
            do()
        self.seconds += time.perf_counter() - began
        self.progress(NAME, end)
        self.share = end


def _leaning(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Of two stages' metrics of a pair the first one's, but `lean`, which only the second measures."""
    return {**one, "lean": max(one.get("lean", 0.0), other.get("lean", 0.0))}
