"""The page of a profile: plots described, strings inert, nothing loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import sample
from test_html import Page

from bdscan.formats.plots.heat import heat_plot, heat_table
from bdscan.mitigate.outcome import Advice, Choice, Disturbed, Effect, Guard, Point, Profile, Shift, TriggerProfile
from bdscan.mitigate.page import render
from bdscan.repair.outcome import Accuracy, Rate
from bdscan.report import FileDigest, Isolation, Label, Tool

RATE, ALL = Rate(hits=3, n=40), Rate(hits=40, n=40)


def effect(text: str, strength: float, triggers: int) -> Effect:
    return Effect(
        kind="blur",
        strength=strength,
        text=text,
        fixed=True,
        accuracy=Accuracy(before=ALL, after=RATE, lost=37, gained=0, p_value=0.0),
        triggers=(Disturbed(success=RATE, recovered=RATE, without=RATE),) * triggers,
    )


def made(text: str = "name") -> Profile:
    label = Label(index=1, name=text[:300])
    points = tuple(Point(name=text[:300], value=v, success=RATE) for v in (0.0, 0.5, 1.0))
    trigger = TriggerProfile(
        target=label,
        sources=(label,),
        family=text[:300],
        success=RATE,
        opacity=points,
        size=points,
        colour=points[:1],
        shift=Shift(right=(-1, 0, 1), down=(-1, 0, 1), hits=((0, 20, 0), (10, 40, 10), (0, 20, 0)), n=40),
    )
    effects = (effect(text, 1, 2), effect(text, 2, 2))
    file = FileDigest(path=text, role="model", sha256="ab" * 32, bytes=9)
    choice = Choice(effect=effects[0], check=effects[0])
    other = Choice(effect=effects[1], check=effects[1])
    return Profile(
        tool=Tool(version="0.1.0"),
        files=(file,),
        report_digest="cd" * 32,
        shape=(1, 16, 16),
        accuracy=ALL,
        triggers=(trigger, trigger),
        effects=effects,
        advice=Advice(summary=text, best=choice, guard=other, warnings=(text,)),
        guard=Guard(
            transformation=text[:300], file=file, format=text[:300], difference=1e-7, checked_with=text[:300], images=9
        ),
        not_measured=(text,),
        isolation=Isolation(level=text[:300]),
        settings={},
        seconds=1.0,
    )


def test_it_is_closed_to_scripts_and_network_and_every_plot_is_described() -> None:
    page = Page(render(made()))
    assert not {"script", "iframe", "object", "embed", "link", "form", "img"} & {tag for tag, _ in page.tags}
    assert [m["content"] for m in page.all("meta") if m.get("http-equiv")] == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    plots = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(plots) == 2 * 3 + 1
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert all(set(str(svg["aria-labelledby"]).split()) <= ids for svg in plots)
    assert "7.5 % (3 of 40)" in page.text
    assert "-1 px right, +0 px down: 25.0 %" in page.text


def test_without_advice_it_says_so() -> None:
    bare = made().model_copy(update={"advice": Advice(summary="none"), "guard": None})
    page = Page(render(bare))
    assert "No input transformation helps" in page.text
    assert "The guarded model" not in page.text


@pytest.mark.parametrize("text", sample.HOSTILE)
def test_hostile_strings_are_inert(text: str) -> None:
    plain, bad = Page(render(made())), Page(render(made(text)))
    assert [tag for tag, _ in bad.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attrs) for _, attrs in bad.tags] == [sorted(attrs) for _, attrs in plain.tags]
    assert all(char == "\n" or char.isprintable() for char in bad.text)
    assert all(str(value).isprintable() for _, attrs in bad.tags for value in attrs.values())


def test_the_heat_map_lies_as_the_places_do() -> None:
    plot = heat_plot((-2, 0, 2), (-1, 0), ((0.0, 0.5, 0.25), (0.0, 1.0, 2.0)))
    assert [(cell.strength, cell.own) for cell in plot.cells] == [
        (0.0, False), (0.5, False), (0.25, False), (0.0, False), (1.0, True), (1.0, False)
    ]  # fmt: skip
    assert plot.cells[1].x > plot.cells[0].x
    assert plot.cells[3].y > plot.cells[0].y
    assert [text for _, text in plot.columns] == ["-2", "0", "+2"]
    assert heat_table((-2, 0), (-1,), ((0.0, 0.5),))[1] == ("-1", "0 %", "50.0 %")
