import re
from html.parser import HTMLParser

import pytest
import sample

from bdscan.formats import render
from bdscan.formats.html import MOST_STATISTICS, telling
from bdscan.formats.images import image
from bdscan.formats.text import web_address
from bdscan.report import Statistic
from bdscan.resources import resource

VOID = {"meta", "img", "br"}
LOADING = {"src", "data", "action", "background", "poster", "srcset", "formaction", "style"}
SAMPLES = {"backdoor": sample.backdoor(), "clean": sample.clean(), "inconclusive": sample.inconclusive()}


class Page(HTMLParser):
    """Collects tags and text, and fails on a tag that does not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.mark.parametrize("name", SAMPLES)
def test_page_is_closed_to_scripts_and_network(name: str) -> None:
    page = Page(render(SAMPLES[name], "html"))
    policies = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in page.tags}
    for tag, attrs in page.tags:
        assert not any(key.startswith("on") for key in attrs)
        for key in LOADING & set(attrs):
            assert (tag, key) == ("img", "src")
            assert str(attrs[key]).startswith("data:image/png;base64,")
        if "href" in attrs:
            assert str(attrs["href"]).startswith(("#", "https://"))
    assert "url(" not in (resource("templates") / "style.css").read_text()


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
    report = sample.backdoor()
    html = render(report, "html")
    page = Page(html)
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert all(th.get("scope") in {"col", "row"} for th in page.all("th"))
    assert all(img["alt"] for img in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [str(attrs["aria-labelledby"]).split() for _, attrs in page.tags if "aria-labelledby" in attrs]
    assert {each for names in named for each in names} <= set(ids)
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (
            svg.get("role") == "img" and len(str(svg["aria-labelledby"]).split()) == 2
        )
    assert re.findall(r"<h1", html) == ["<h1"]


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
