"""`bdscan detectors`: what each detector needs, finds and misses, in its own words."""

from __future__ import annotations

from bdscan.cli.exits import guarded

HELP = """List the detectors: what each needs, finds and misses.

\b
Example:
  bdscan detectors
"""


PAPERS = """\
P0 Revisiting Training-Inference Trigger Intensity (TITIM), P1 Better Trigger Inversion Optimization, P2 visible,
semantic, sample-specific triggers (VSSC), P3 Rethinking the Trigger of Backdoor Attack, P4 Isolate Trigger (IsTr);
docs/papers.md says what comes from which."""


def detectors() -> None:
    with guarded():
        import textwrap

        import typer

        from bdscan.detectors.registry import ABOUTS

        for about in ABOUTS:
            typer.echo(f"{about.name}: {about.title}")
            for field in ("needs", "finds", "misses", "source"):
                words = f"{field + ':':<8}{getattr(about, field)}"
                typer.echo(textwrap.fill(words, 100, initial_indent="  ", subsequent_indent=" " * 10))
            typer.echo()
        typer.echo(PAPERS)
