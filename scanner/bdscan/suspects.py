"""Which recovered triggers are looked at again, and in what order. What is suspicious is the rules' to say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bdscan.detectors.inversion.trigger import Candidate
from bdscan.rules import Rule, fires, for_trigger

MOST_ALARMS = 6
MOST_WEAKNESSES = 2
PAIR_CRITICAL = 6.0
USUAL_RATIO = {
    "sparse": 0.42,
    "dense": 0.55,
    "warp": 0.42,
    "tone": 0.22,
    "wave": 0.6,
    "dark": 0.35,
    "bright": 0.35,
    "hazy": 0.35,
    "blurred": 0.35,
}  # below what clean networks show, by family


def suspicion(candidate: Candidate) -> float:
    """One number to order candidates before any second search; about 1 is where rules begin to alarm."""
    m = candidate.metrics
    if candidate.sources:
        return m["contrast"] / PAIR_CRITICAL
    # both must be unusual: an index without a small ratio is a small MAD, a ratio without an index a wide spread
    return min(m["index"] / m["critical"], USUAL_RATIO.get(candidate.family, 0.5) / max(m["ratio"], 1e-6))


def alarming(rules: Sequence[Rule], candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates that a second search may turn into an alarm, the most suspicious of them.

    A weakness whose rule has all it needs is not among them: nothing that a second search finds would change it.
    """

    def undecided(c: Candidate) -> bool:
        rule = for_trigger(rules, c.family, not c.sources, c.metrics, so_far=True)
        return rule is not None and not (rule.weakness and fires(rule, c.metrics))

    return [c for c in _ordered(candidates) if undecided(c)][:MOST_ALARMS]


def weak(rules: Sequence[Rule], candidates: Iterable[Candidate], alarms: Sequence[Candidate]) -> list[Candidate]:
    """A few natural weaknesses, of other targets than the alarms; the most suspicious candidate if there is neither."""
    ordered = _ordered(candidates)
    known = {c.target for c in alarms}
    found: dict[tuple[int, tuple[int, ...]], Candidate] = {}
    for c in ordered:
        rule = for_trigger(rules, c.family, not c.sources, c.metrics, so_far=True)
        if rule is not None and rule.weakness and c.target not in known:
            found.setdefault((c.target, c.sources), c)
    some = list(found.values())[:MOST_WEAKNESSES]
    return some if some or alarms else ordered[:1]


def _ordered(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=suspicion, reverse=True)
