"""What holds for every page: one parser of it, and the checks that nothing runs, loads, or goes unnamed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from bdscan.resources import resource

VOID = {"meta", "img", "br"}
LOADING = {"src", "data", "action", "background", "poster", "srcset", "formaction", "style"}


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


def assert_closed(page: Page) -> None:
    """No script, no network: every link of the page is one of its own, or a web address that a person may follow."""
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


def assert_described(html: str) -> None:
    """Every table, plot and picture has a name; ids are unique and all that is referred to is there."""
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
