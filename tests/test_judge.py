"""From confirmed triggers to findings: merging, suppression, weaknesses, evidence."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "detectors"))
from planted import CLASSES, EACH, SHAPE, TARGET, subject

from bdscan import judge
from bdscan.detectors.confirmation import INTENSITIES, Confirmation, Repeat
from bdscan.detectors.interface import Measurement
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.report import Bar, Bars, Confidence, Curve, Gallery, Label, Statistic, Verdict
from bdscan.rules import Rule, decide

COMMON = {"severity": "high", "about": "trigger", "remedy": "r", "references": [{"title": "x"}]}
ALARM = COMMON | {
    "id": "ALARM",
    "title": "t",
    "scope": "universal",
    "when": [{"index/critical": {"min": 1.0}}],
    "confirmed": {"asr": {"min": 0.75}, "repeat_ratio": {"max": 0.5}},
    "message": "{family} to {target} from {sources}.",
}
PAIR = COMMON | {
    "id": "PAIR",
    "title": "t",
    "scope": "pair",
    "when": [{"contrast": {"min": 6.0}}],
    "confirmed": {"asr": {"min": 0.75}},
    "message": "{sources} to {target}.",
}
WEAK = ALARM | {"id": "WEAK", "severity": "low", "weakness": True, "when": [{"index/critical": {"min": 0.5}}]}
RULES = tuple(Rule.model_validate(r) for r in (ALARM, PAIR, WEAK))


def found(
    target: int = TARGET,
    sources: tuple[int, ...] = (),
    family: str = "sparse",
    index: float = 8.0,
    contrast: float = 9.0,
) -> Candidate:
    change = torch.zeros(SHAPE)
    change[0, 0, 7] = 0.65
    universal = {"index": index, "critical": 4.0, "ratio": 0.1, "gap": 0.2}
    return Candidate(
        family=family,
        target=target,
        sources=sources,
        parameters={"delta": change},
        size=0.65,
        success=1.0,
        metrics={"contrast": contrast} if sources else universal,
        stamp=lambda images, intensity: (images + intensity * change).clamp(0, 1),
    )


def confirmed(trigger: Candidate, hits: int = 12, repeat_ratio: float = 0.1, reference: float | None = None):
    return Confirmation(
        trigger=trigger,
        hits=hits,
        n=12,
        interval=(0.0, 1.0),
        repeat=Repeat(size=0.5, ratio=repeat_ratio, asr=1.0),
        profile=tuple(0.0 for _ in INTENSITIES),
        reference_asr=reference,
    )


def findings(*confirmations: Confirmation, measured: dict[str, Measurement] | None = None):
    return judge.trigger_findings(subject(), RULES, confirmations, [c.trigger for c in confirmations], measured or {})


def test_a_confirmed_trigger_is_one_finding_with_its_rate() -> None:
    (one,) = findings(confirmed(found()))
    assert (one.rule, one.confirmed, one.weakness, one.confidence) == ("ALARM", True, False, Confidence.HIGH)
    assert one.target == Label(index=TARGET, name="row 4")
    assert (one.asr, one.asr_n, one.asr_interval) == (1.0, 12, (0.0, 1.0))
    assert one.message.lower() == "sparse to class 3 (row 4) from all classes."
    assert one.references[0].title == "x"


@pytest.mark.parametrize("what", [{"hits": 8}, {"repeat_ratio": 0.51}])
def test_what_fails_on_held_out_images_or_does_not_come_back_is_not_confirmed(what: dict[str, float]) -> None:
    (one,) = findings(confirmed(found(), **what))
    assert not one.confirmed
    assert one.confidence is Confidence.MEDIUM
    assert decide([one], True) is Verdict.SUSPICIOUS


def test_an_ordinary_trigger_makes_no_finding() -> None:
    assert findings(confirmed(found(index=0.5))) == []


def test_families_with_the_same_target_are_one_finding_by_the_most_suspicious() -> None:
    strong, weak = found(family="dense", index=20.0), found(family="sparse", index=8.0)
    for order in ((strong, weak), (weak, strong)):
        (one,) = findings(*map(confirmed, order))
        assert one.message.lower().startswith("dense to")
        assert one.message.endswith("Also suspected by: sparse.")


def test_a_confirmed_family_speaks_before_a_more_suspicious_unconfirmed_one() -> None:
    (one,) = findings(confirmed(found(family="dense", index=20.0), hits=0), confirmed(found(family="sparse")))
    assert one.confirmed
    assert one.message.lower().startswith("sparse to")
    assert "Also suspected by: dense." in one.message


def test_an_alarm_speaks_before_a_weakness() -> None:
    (one,) = findings(confirmed(found(family="dense", index=3.0)), confirmed(found(), hits=0))
    assert one.rule == "ALARM"


def test_each_target_has_its_finding_the_confirmed_first() -> None:
    result = findings(
        confirmed(found(target=0, index=3.0)), confirmed(found(target=1), hits=0), confirmed(found(target=2))
    )
    assert [(f.target.index, f.rule, f.confirmed) for f in result] == [
        (2, "ALARM", True),
        (1, "ALARM", False),
        (0, "WEAK", False),
    ]


def test_a_pair_to_the_target_of_a_universal_trigger_is_that_trigger() -> None:
    universal, pair = confirmed(found()), confirmed(found(sources=(1,)))
    assert [f.rule for f in findings(universal, pair)] == ["ALARM"]
    (alone,) = findings(pair)
    assert (alone.rule, [s.index for s in alone.sources]) == ("PAIR", [1])
    elsewhere = confirmed(found(target=2, sources=(1,)))
    assert {f.rule for f in findings(universal, elsewhere)} == {"ALARM", "PAIR"}


def test_a_pair_is_not_hidden_by_a_mere_weakness_of_its_target() -> None:
    result = findings(confirmed(found(index=3.0)), confirmed(found(sources=(1,))))
    assert {f.rule for f in result} == {"PAIR", "WEAK"}
    assert decide(result, True) is Verdict.BACKDOOR


def test_a_weakness_never_raises() -> None:
    (one,) = findings(confirmed(found(index=3.0)))
    assert (one.rule, one.weakness, one.confirmed, one.confidence) == ("WEAK", True, False, Confidence.LOW)
    assert decide([one], True) is Verdict.CLEAN


def test_the_trusted_network_s_success_is_told() -> None:
    (one,) = findings(confirmed(found(), reference=0.08))
    assert "On the trusted network the same trigger succeeds on 8%." in one.message


def test_evidence_shows_held_out_images_before_and_after_and_the_stage_s_plots() -> None:
    plot = Curve(title="plot of the stage", x_label="x", y_label="y", x=(), lines=())
    stage = Measurement(statistics=(), evidence=(plot,))
    (one,) = findings(confirmed(found()), measured={"inversion.sparse": stage, "inversion.dense": Measurement(())})
    assert {e.kind for e in one.evidence} == {"picture", "gallery", "curve", "trigger"}
    assert plot in one.evidence
    (gallery,) = (e for e in one.evidence if isinstance(e, Gallery))
    assert len(gallery.pairs) == judge.SHOWN
    for pair in gallery.pairs:
        assert pair.before.index != TARGET
        assert pair.after.index == TARGET


def test_a_finding_marks_its_own_target_in_the_stage_s_plot() -> None:
    labels = [Label(index=i, name=str(i)) for i in range(CLASSES)]
    drawn = Bars(
        title="t", unit="u", bars=tuple(Bar(label=one, value=1.0, highlighted=one.index == 0) for one in labels)
    )
    (one,) = findings(confirmed(found()), measured={"inversion.sparse": Measurement((), evidence=(drawn,))})
    (shown,) = [each for each in one.evidence if isinstance(each, Bars)]
    assert [bar.label.index for bar in shown.bars if bar.highlighted] == [TARGET]


def test_a_statistic_s_rule_reads_its_value_and_tells_the_summary() -> None:
    rule = Rule.model_validate(
        COMMON
        | {
            "id": "S",
            "title": "t",
            "about": "statistic",
            "statistic": "graph.branches",
            "when": [{"value": {"min": 1.0}}],
            "message": "Branch: {summary}",
        }
    )

    def graph(value: float | None) -> dict[str, Measurement]:
        statistic = Statistic(name="graph.branches", detector="graph", value=value)
        return {"graph": Measurement((statistic,), summary="an If {node}")}

    (one,) = judge.statistic_findings([rule], graph(2.0))
    assert one.message == "Branch: an If {node}"
    assert not one.confirmed
    assert decide([one], False) is Verdict.SUSPICIOUS
    assert judge.statistic_findings([rule], graph(0.0)) == []
    assert judge.statistic_findings([rule], graph(None)) == []
    assert judge.statistic_findings(RULES, graph(2.0)) == []


def test_toy_has_the_held_out_images_that_the_gallery_needs() -> None:
    assert (CLASSES - 1) * EACH // 2 >= judge.SHOWN


def led(target: int, ratio: float, **leads: float) -> Confirmation:
    trigger = found(target)
    return confirmed(replace(trigger, metrics={**trigger.metrics, "ratio": ratio, **leads}))


def test_of_several_alarms_the_one_whose_patch_leads_is_first() -> None:
    """A natural trigger can be smaller than the planted one, but a patch at its place leads by less."""
    natural = led(1, 0.05, lead=0.7, other_lead=0.9)
    planted = led(TARGET, 0.2, lead=1.4, other_lead=0.9)
    assert [f.target.index for f in findings(natural, planted)] == [TARGET, 1]
    assert [f.target.index for f in findings(planted, natural)] == [TARGET, 1]
    unknown = led(2, 0.1)
    assert [f.target.index for f in findings(natural, planted, unknown)] == [TARGET, 2, 1]
    assert next(f.target.index for f in findings(led(1, 0.05, lead=3.0), planted)) == TARGET, "of one half: not known"
    too = confirmed(found(1, family="dense"))
    assert [f.target.index for f in findings(natural, too, unknown)] == [2, 1], "another family does not hide the lead"
    assert [f.target.index for f in findings(led(1, 0.05), led(TARGET, 0.2))] == [1, TARGET], "as before"


def test_of_two_alarms_on_a_trigger_the_confirmed_one_speaks() -> None:
    strict = Rule.model_validate(PAIR | {"id": "STRICT", "confirmed": {"asr": {"min": 1.1}}})
    weak = Rule.model_validate(PAIR | {"id": "FREE", "confirmed": {}, "weakness": True})
    pair = confirmed(found(sources=(1,)))
    for rules in ((strict, *RULES), (*RULES, strict), (strict, weak, *RULES)):
        (one,) = judge.trigger_findings(subject(), rules, [pair], [], {})
        assert (one.rule, one.confirmed) == ("PAIR", True)
        assert judge.is_planted(rules, pair)
    (one,) = judge.trigger_findings(subject(), (strict, weak), [pair], [], {})
    assert (one.rule, one.confirmed) == ("STRICT", False)
