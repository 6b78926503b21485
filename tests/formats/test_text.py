import shlex
import unicodedata

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from bdscan.formats.story import SWITCHED, WORDS, command_line, suspects, weaknesses, words
from bdscan.formats.text import label, number, percent, seconds, shorten, visible
from bdscan.report import Label


@given(st.text())
def test_nothing_invisible_is_left_and_nothing_visible_is_lost(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Co", "Cn"} for char in shown)
    assert visible(shown) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a\u202eb", r"a\u202eb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b1m", r"\x9b1m"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\U000e0041", r"\U000e0041"),
        ("café 猫 кошка", "café 猫 кошка"),
        ("a" + "\u0300" * 5, "a" + "\u0300" * 3 + r"\u0300" * 2),
        ("\u3164", r"\u3164"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_numbers_do_not_promise_more_than_they_know() -> None:
    assert [percent(share) for share in (1.0, 0.99999, 0.978, 0.0001, 0.0, None)] == [
        "100 %",
        "> 99.9 %",
        "97.8 %",
        "< 0.1 %",
        "0 %",
        "–",
    ]
    assert [number(value) for value in (None, 0.0, -8.4, 12345.6, 0.015625, 3.8e-6, 4.2e9)] == [
        "–",
        "0",
        "-8.4",
        "12,346",
        "0.0156",
        "3.80e-06",
        "4.20e+09",
    ]
    assert [seconds(value) for value in (0.02, 59.94, 228.4, 119.9)] == ["0.0 s", "59.9 s", "3 min 48 s", "2 min 00 s"]


def test_labels() -> None:
    assert label(Label(index=3, name="cat")) == "3 · cat"
    assert label(Label(index=3, name="3")) == label(Label(index=3, name="")) == "3"
    assert len(label(Label(index=3, name="x" * 300), 16)) == len("3 · ") + 16


@given(st.text(), st.integers(2, 50))
def test_shorten_keeps_both_ends(text: str, length: int) -> None:
    short = shorten(text, length)
    assert len(short) <= length or short == text
    assert len(text) <= length or (short.endswith(text[-1]) and "…" in short)


def test_command_line_repeats_the_settings() -> None:
    words = shlex.split(command_line(sample.backdoor()))
    assert words[:5] == ["bdscan", "scan", "downloads/resnet18_cifar10.onnx", "--samples", "my samples.npz"]
    assert words[words.index("--detectors") + 1] == "steps,inversion,pairs"
    assert "--arch" not in words
    assert "--rules" not in words


def test_findings_are_grouped_by_target() -> None:
    extra = sample.UNIVERSAL.model_copy(update={"rule": "last-layer"})
    whole = sample.UNIVERSAL.model_copy(update={"target": None})
    report = sample.report(findings=(sample.UNIVERSAL, sample.SOURCE_SPECIFIC, extra, whole, sample.WEAKNESS))
    groups = [(suspect.name, len(suspect.findings)) for suspect in suspects(report)]
    assert groups == [("Target class 3 · cat", 2), ("Target class 8 · ship", 1), ("The model as a whole", 1)]
    assert weaknesses(report) == (sample.WEAKNESS,)


def test_a_finding_about_the_graph_alone_is_not_explained_by_a_search() -> None:
    report = sample.suspicious()
    assert words(report) == WORDS[report.verdict]
    graph = report.findings[0].model_copy(update={"target": None})
    assert words(report.model_copy(update={"findings": (graph,)})) == SWITCHED
    assert words(report.model_copy(update={"findings": (graph, *report.findings)})) == WORDS[report.verdict]
