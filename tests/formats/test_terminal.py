import io
import re

import pytest
import sample
from rich.console import Console

from bdscan.formats import render
from bdscan.formats.terminal import WIDTH, print_report
from bdscan.report import Failed, Skipped

OWN = re.compile(r"\x1b\[[0-9;]*m")  # the colours that rich itself writes


@pytest.mark.parametrize("text", sample.HOSTILE)
def test_model_strings_are_inert(text: str) -> None:
    buffer = io.StringIO()
    print_report(sample.hostile(text), Console(file=buffer, width=100, force_terminal=True, color_system="truecolor"))
    shown = OWN.sub("", buffer.getvalue())
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert "\u202e" not in shown
    assert "\x1b" not in shown


def test_rich_markup_is_shown_as_it_is() -> None:
    assert "[red]no[/red]" in render(sample.hostile("[red]no[/red]"), "text")
    assert r"\x1b[31m" in render(sample.hostile("\x1b[31m"), "text")


@pytest.mark.parametrize("report", [sample.backdoor(), sample.hostile("x" * 4000), sample.many(1000)])
def test_lines_fit(report: sample.Report) -> None:
    assert max(map(len, render(report, "text").splitlines())) <= WIDTH


def test_backdoor_says_everything_once() -> None:
    text = " ".join(render(sample.backdoor(), "text").split())
    for words in (
        "Backdoor found",
        "Target class 3 · cat",
        "97.8 % (95 % interval 92.3 % to 99.4 %) of 90 held-out images",
        "SKIPPED sensitivity",
        "FAILED margin",
        "PROVISIONAL: cifar10-2026-11",
    ):
        assert text.count(words) == 1, words
    assert text.index("Weaknesses") < text.index("5 · dog")


def test_a_stage_that_did_not_run_is_told_once() -> None:
    skipped, failed = Skipped(name="pairs", reason="too few"), Failed(name="margin", error="ValueError: x")
    unseen = ("margin failed: ValueError: x", "pairs: too few", "Training data.")
    shown = " ".join(render(sample.report(stages=(skipped, failed), not_examined=unseen), "text").split())
    for text in ("too few", "ValueError: x", "Training data."):
        assert shown.count(text) == 1
