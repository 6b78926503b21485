"""Markdown, read back with a CommonMark parser: what a name holds must come out as the letters that it is."""

import re

import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bdscan.formats import render
from bdscan.formats.escaped import code, link, markdown
from bdscan.formats.machine import said
from bdscan.formats.markdown import LARGEST

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
NASTY = [*sample.HOSTILE, *sample.MARKUP, "".join(sample.MARKUP)]


def tokens(text: str) -> list[Token]:
    flat: list[Token] = []
    for token in PARSER.parse(text):
        flat += [token, *(token.children or [])]
    return flat


def shown(inline: Token) -> str:
    """The letters of a run of text; our own empty comments are the only HTML in it."""
    parts = []
    for child in inline.children or []:
        if child.type == "html_inline":
            assert child.content == "<!-- -->"
        else:
            assert child.type in {"text", "text_special", "code_inline"}, child
            parts.append(child.content)
    return "".join(parts)


@settings(deadline=None)  # other work may share the cores
@given(
    st.text() | st.sampled_from(NASTY) | st.lists(st.sampled_from("a1 .-+*_#`~!|[]()<>{}&;:/\\@$^='\"\n")).map("".join)
)
def test_any_text_comes_out_as_itself(text: str) -> None:
    for escaped in (markdown(text, 10_000), code(text, 10_000)):
        alone = PARSER.parse(escaped)
        assert [token.type for token in alone] == ["paragraph_open", "inline", "paragraph_close"]
        assert shown(alone[1]) == said(text, "–")
        table = PARSER.parse(f"| a | b |\n| --- | --- |\n| {escaped} | x |")
        cells = [shown(token) for token in table if token.type == "inline"]
        assert cells == ["a", "b", said(text, "–"), "x"]
        items = [shown(token) for token in PARSER.parse(f"- {escaped}\n- x") if token.type == "inline"]
        assert items == [said(text, "–"), "x"]


@pytest.mark.parametrize("text", NASTY)
def test_a_summary_with_hostile_names_has_the_shape_of_a_harmless_one(text: str) -> None:
    page, plain = render(sample.hostile(text), "markdown"), render(sample.hostile("name"), "markdown")
    kinds = [token.type for token in tokens(page) if token.block]
    assert kinds == [token.type for token in tokens(plain) if token.block]
    assert {token.type for token in tokens(page)} <= {token.type for token in tokens(plain)} | {
        "text_special",
        "html_inline",
        "code_inline",
    }
    assert {token.content for token in tokens(page) if token.type == "html_inline"} <= {"<!-- -->"}
    assert not [token for token in tokens(page) if token.type in {"link_open", "image", "html_block"}]
    # What GitHub makes links of without being asked: bare addresses, mentions, numbers of issues.
    assert not re.search(r"(?<!\\)://|\bwww\.|@(?!<)|(?<!&)#(?=\d)", page)


def test_links_lead_to_web_addresses_only() -> None:
    assert link("a [b]", "https://example.org/a b>c") == r"[a \[b\]](<https://example.org/a%20b%3Ec>)"
    assert link("a", "javascript:alert(1)") == link("a", "") == "a"
    page = tokens(render(sample.backdoor(), "markdown"))
    assert {str(token.attrs["href"]) for token in page if token.type == "link_open"} == {
        reference.url for reference in sample.REFERENCES
    }


@pytest.mark.parametrize("verdict", sample.REPORTS)
def test_the_verdict_is_the_heading(verdict: str) -> None:
    report = sample.REPORTS[verdict]()
    page = render(report, "markdown")
    assert re.fullmatch(r"## . bdscan: (\w+).*", page.splitlines()[0])[1].lower() == verdict
    assert ("### Stages that did not run" in page) == (verdict != "clean")
    assert page.index("### Not examined") > page.index("SHA-256")


def test_a_summary_has_a_bound_and_says_where_it_was_cut() -> None:
    finding = sample.UNIVERSAL.model_copy(update={"message": "@" * 4000, "title": "#" * 4000})
    long = sample.report(findings=(finding,) * 200, not_examined=("x",) * 60)
    page = render(long, "markdown")
    assert len(page.encode()) <= LARGEST + 200
    assert "cut off here" in page.splitlines()[-1]
    assert "**failed**" in page, "what did not run comes before what may be cut"
    assert "and 20 more" in render(sample.report(findings=(), not_examined=("x",) * 60), "markdown")
