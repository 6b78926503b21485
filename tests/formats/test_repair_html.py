"""The page of a repair: closed to scripts and network, inert names, before and after beside each other."""

from __future__ import annotations

import pytest
import sample
import sample_repair
from html_page import Page, assert_closed, assert_described

from bdscan.formats import repair_story
from bdscan.formats.plots.bars import bars_plot
from bdscan.formats.plots.rates import rates_plot
from bdscan.formats.repair_html import MOST_ROUNDS, MOST_TRIGGERS, render


@pytest.mark.parametrize("name", sample_repair.REPAIRS)
def test_page_is_closed_to_scripts_and_network(name: str) -> None:
    html = render(sample_repair.REPAIRS[name]())
    assert_closed(Page(html))
    assert html == render(sample_repair.REPAIRS[name]()), "the same report gives the same bytes"


@pytest.mark.parametrize("text", [*sample.HOSTILE, *sample.MARKUP])
def test_hostile_strings_are_inert(text: str) -> None:
    plain, bad = Page(render(sample_repair.hostile("name"))), Page(render(sample_repair.hostile(text)))
    assert {tag for tag, _ in bad.tags} <= {tag for tag, _ in plain.tags}
    assert {(tag, *sorted(attrs)) for tag, attrs in bad.tags} <= {(tag, *sorted(attrs)) for tag, attrs in plain.tags}
    assert_closed(bad)
    assert all(char == "\n" or char.isprintable() for char in bad.text)
    assert all(str(value).isprintable() for _, attrs in bad.tags for value in attrs.values())
    if text == "<script>alert(1)</script>":
        assert text in bad.text


@pytest.mark.parametrize("name", sample_repair.REPAIRS)
def test_every_table_plot_and_picture_is_described(name: str) -> None:
    assert_described(render(sample_repair.REPAIRS[name]()))


def test_the_outcome_comes_first_then_both_sides_then_the_rest() -> None:
    text = Page(render(sample_repair.repaired())).text
    order = (
        "Repaired",
        "2 stages did not run in the second scan",
        "Before and after",
        "Unlearned triggers",
        "Smallest trigger for each class",
        "Rounds of unlearning",
        "Does the backdoor come back?",
        "What the second scan found",
        "What the second scan did not examine",
        "Files, settings and machine",
    )
    positions = [text.index(words) for words in order]
    assert positions == sorted(positions)
    for said in (
        "97.3 % 73 of 75, 95 % interval",
        "1.3 % 1 of 75",
        "3 were lost (right before, wrong after) and 1 gained",
        "p = 0.312",
        "no held-out image to try it on",
        "No such plot after the repair: failed, out of memory after 4 of 10 labels.",
        "No finding of the scan shows this trigger: the repair searched for it itself.",
        "out/repaired.onnx",
        "0c" * 32,
        "max_accuracy_drop",
        *sample_repair.after().not_examined,
    ):
        assert said in text, said


def test_a_rejected_repair_says_why_and_shows_what_is_left() -> None:
    repair = sample_repair.rejected()
    html = render(repair)
    text = Page(html).text
    assert '<body class="verdict-backdoor">' in html
    assert all(reason in text for reason in repair.reasons)
    assert "more than chance explains" in text
    assert "This was not tried." in text
    assert text.index("What the second scan found") < text.rindex(sample.UNIVERSAL.message)


def test_a_cut_says_what_was_fixed_and_nothing_of_weights() -> None:
    text = Page(render(sample_repair.cut())).text
    order = ("Repaired: the branch was cut", "Before and after", "Cut branches", "What the second scan found")
    positions = [text.index(words) for words in order]
    assert positions == sorted(positions)
    assert "On all 180 clean images" in text
    for said in ("branch at gate (Less, switches Where, Mul)", "by the image", "always false"):
        assert said in text, said
    for absent in (
        "How far apart the classes are",
        "Unlearned triggers",
        "Rounds of unlearning",
        "Does the backdoor come back?",
        "in all.",
    ):
        assert absent not in text, absent
    assert "Cut branches" not in Page(render(sample_repair.repaired())).text


def test_triggers_that_lived_in_the_branch_are_not_called_unlearned() -> None:
    text = Page(render(sample_repair.repaired(cut=sample_repair.cut().cut, rounds=(), relearn=None))).text
    assert "Triggers that are gone with the branch" in text
    assert "Unlearned triggers" not in text


def test_a_cut_and_unlearned_model_shows_both_and_few_of_many_switches() -> None:
    both = sample_repair.repaired(cut=sample_repair.hostile("name").cut)
    text = Page(render(both)).text
    assert text.index("Cut branches") < text.index("Unlearned triggers") < text.index("Rounds of unlearning")
    assert text.count("branch at name") == repair_story.MOST_SWITCHES
    assert "40 switches were cut in all." in text


def test_pictures_are_those_of_the_finding_that_holds_the_trigger() -> None:
    first, second, third = repair_story.triggers(sample_repair.repaired())
    assert first.finding is not None
    assert first.finding.rule == "universal-trigger"
    assert second.finding is not None
    assert second.finding.rule == "source-specific-trigger"
    assert third.finding is None


def test_a_trigger_that_the_scan_showed_as_a_weakness_says_so() -> None:
    whole = sample_repair.repaired()
    weakness = sample.UNIVERSAL.model_copy(update={"weakness": True})
    shown = whole.model_copy(update={"before": whole.before.model_copy(update={"findings": (weakness,)})})
    names = [each.name for each in repair_story.triggers(shown)]
    assert [name.endswith("(shown as a weakness)") for name in names] == [True, False, False]


def test_two_triggers_of_one_kind_take_their_findings_in_order() -> None:
    one, other = (sample.UNIVERSAL.model_copy(update={"title": name}) for name in ("one", "other"))
    whole = sample_repair.repaired()
    before = whole.before.model_copy(update={"findings": (one, other)})
    twice = whole.model_copy(update={"before": before, "triggers": (whole.triggers[0],) * 3})
    assert [each.finding and each.finding.title for each in repair_story.triggers(twice)] == ["one", "other", None]


def test_sizes_before_and_after_share_an_axis_and_mark_the_unlearned_targets() -> None:
    sparse, dense, tone = repair_story.sizes(sample_repair.repaired())
    assert (sparse.family, dense.family, tone.family) == ("sparse", "dense", "tone")
    assert tone.after is None
    assert sparse.before is not None
    assert sparse.after is not None
    small, large = (bars_plot(bars, sparse.axis) for bars in (sparse.before, sparse.after))
    assert small.ticks == large.ticks
    assert {row.name for row in large.rows if row.highlighted} == {"0 · airplane", "3 · cat", "8 · ship"}
    doubled = sparse.after.model_copy(
        update={"bars": tuple(bar.model_copy(update={"value": 90.0}) for bar in sparse.after.bars)}
    )
    assert bars_plot(sparse.before).ticks != bars_plot(sparse.before, (90.0,)).ticks == bars_plot(doubled).ticks


def test_rates_are_drawn_in_proportion_with_their_intervals() -> None:
    rate = sample_repair.rate
    plot = rates_plot([("a", rate(10, 10)), ("b", rate(5, 10)), ("c", rate(0, 0))])
    whole, half, none = plot.rows
    assert half.width == pytest.approx(whole.width / 2)
    assert (whole.text, half.text, none.text) == ("100 %", "50.0 %", "–")
    left, right = plot.ticks[0].at, plot.ticks[-1].at
    assert half.low is not None
    assert half.high is not None
    assert (half.low - left) / (right - left) == pytest.approx(0.2366, abs=1e-3)  # Wilson, 5 of 10
    assert (half.high - left) / (right - left) == pytest.approx(0.7634, abs=1e-3)
    assert none.low is None


def test_the_paired_test_in_words() -> None:
    same = sample_repair.repaired().accuracy.model_copy(update={"lost": 0, "gained": 0, "p_value": 1.0})
    assert "none was lost, none gained" in repair_story.paired_test(same)
    one = same.model_copy(update={"lost": 1, "p_value": 0.5})
    assert "1 was lost" in repair_story.paired_test(one)
    assert "no more than chance explains" in repair_story.paired_test(one)


def test_the_page_stays_bounded() -> None:
    count = 150
    html = render(sample_repair.many(count))
    assert len(html) < 1_500_000
    assert f"{count - MOST_TRIGGERS} more are in the JSON report" in html
    assert f"{count - MOST_ROUNDS} more are in the JSON report" in html


def test_what_a_first_result_showed_comes_with_its_own_findings() -> None:
    """The second scan named the trigger again; each of both has the finding of its own scan."""
    first = sample_repair.before()
    again = first.findings[0].model_copy(update={"title": "of the first result"})
    weak = first.findings[0].model_copy(update={"weakness": True})
    between = first.model_copy(update={"findings": (again, weak), "summary": "Class 3 alarms again."})
    plain = sample_repair.repaired()
    repair = plain.model_copy(update={"between": between, "triggers": (plain.triggers[0], *plain.triggers)})
    titles = [each.finding and each.finding.title for each in repair_story.triggers(repair)]
    known = [each.finding and each.finding.title for each in repair_story.triggers(plain)]
    assert titles == ["of the first result", *known]
    text = Page(render(repair)).text
    assert "Two attempts. The scan of a first result said: Class 3 alarms again." in " ".join(text.split())
    assert "Two attempts." not in Page(render(plain)).text
