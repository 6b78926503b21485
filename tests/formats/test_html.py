import re

import pytest
import sample
from html_page import Page, assert_closed, assert_described

from bdscan.formats import render
from bdscan.formats.html import MOST_STATISTICS, telling
from bdscan.formats.images import image
from bdscan.formats.text import web_address
from bdscan.report import Statistic
from bdscan.resources import resource

SAMPLES = {"backdoor": sample.backdoor(), "clean": sample.clean(), "inconclusive": sample.inconclusive()}


@pytest.mark.parametrize("name", SAMPLES)
def test_page_is_closed_to_scripts_and_network(name: str) -> None:
    assert_closed(Page(render(SAMPLES[name], "html")))


@pytest.mark.parametrize("text", sample.HOSTILE)
def test_hostile_strings_are_inert(text: str) -> None:
    plain, bad = Page(render(sample.hostile("name"), "html")), Page(render(sample.hostile(text), "html"))
    # The same tags with the same attributes: nothing that a name holds became markup. Optional parts (no remedy for
    # an empty text) may fall away, nothing may be added.
    assert {tag for tag, _ in bad.tags} <= {tag for tag, _ in plain.tags}
    assert {(tag, *sorted(attrs)) for tag, attrs in bad.tags} <= {(tag, *sorted(attrs)) for tag, attrs in plain.tags}
    assert all(char == "\n" or char.isprintable() for char in bad.text)
    assert all(str(value).isprintable() for _, attrs in bad.tags for value in attrs.values())
    if text == "<script>alert(1)</script>":
        assert text in bad.text


def test_every_table_plot_and_picture_is_described() -> None:
    assert_described(render(sample.backdoor(), "html"))


def test_suspects_come_before_weaknesses_and_stages() -> None:
    text = Page(render(sample.backdoor(), "html")).text
    order = (
        "Backdoor found",
        "Key facts",
        "Target class 3 · cat",
        "Target class 8 · ship",
        "Weaknesses",
        "What was looked at",
    )
    positions = [text.rindex(words) if words == "Weaknesses" else text.index(words) for words in order]
    assert positions == sorted(positions)
    assert "What was not examined" in text
    assert "bdscan scan downloads/resnet18_cifar10.onnx" in text


@pytest.mark.parametrize("count", [43, 1000])
def test_many_labels_give_a_page_of_bounded_size(count: int) -> None:
    assert len(render(sample.many(count), "html")) < 1_000_000


def test_small_images_are_enlarged_by_whole_factors() -> None:
    small = image(sample.png(sample.scene(1)), 128)
    assert small is not None
    assert (small.width, small.height, small.pixelated) == (128, 128, True)
    large = image(sample.png(sample.scene(1, 224)), 128)
    assert large is not None
    assert (large.width, large.height, large.pixelated) == (128, 128, False)


def test_what_is_no_png_or_a_bomb_is_not_shown() -> None:
    import base64
    import struct

    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 100_000, 100_000)
    for bad in ("", "AAAA", "A", base64.b64encode(bomb).decode(), base64.b64encode(b"GIF89a" + b"0" * 40).decode()):
        assert image(bad, 128) is None


def test_only_web_addresses_become_links() -> None:
    assert web_address("https://example.org/a?b=c") == "https://example.org/a?b=c"
    for bad in (
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.org",
        "https://a\u202eb",
        "https://[",
        "file:///etc",
    ):
        assert web_address(bad) == ""


def test_statistics_are_cut_to_the_telling_ones() -> None:
    every = tuple(
        Statistic(name=str(i), detector="d", value=1.0, p_value=None if i % 2 else 1 - i / 2000) for i in range(1000)
    )
    kept = telling(every)
    assert [int(each.name) for each in kept] == list(range(1000 - 2 * MOST_STATISTICS, 1000, 2))


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", block))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_contrast_in_both_themes() -> None:
    light, dark = (
        colours(block) for block in (resource("templates") / "style.css").read_text().split("color-scheme")[:2]
    )
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    for theme in (light, light | dark):
        for ground in ("paper", "card"):
            for text in ("ink", "quiet", "link", "hot", "clean", "inconclusive", "suspicious", "backdoor"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
            assert contrast(theme["bar"], theme[ground]) >= 3
        for tag in ("suspicious", "backdoor"):
            assert contrast(theme["glyph"], theme[tag]) >= 4.5
        assert contrast(theme["ink"], theme["heat"]) >= 4.5
