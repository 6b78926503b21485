"""`bdscan scan`: from a suspect file and a few clean images to a verdict and a report."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bdscan.cli.exits import FailOn, exit_code, guarded, note
from bdscan.cli.place import in_repository

if TYPE_CHECKING:
    from bdscan.cli.outputs import Output
    from bdscan.report import Report

HELP = """Scan a classifier for planted backdoors.

MODEL is an ONNX file, a TorchScript file, a state_dict (.pt, .pth, .safetensors) or a whole module.
It is opened in a worker process with limits, never in this one.

\b
Examples:
  bdscan scan model.onnx --samples images/
  bdscan scan resnet.pth --arch torchvision:resnet18 --samples images/ -o report.html
  bdscan scan net.pt --arch net.py:make --samples ten_per_class.npz -o report.json -o report.html
  bdscan scan model.onnx --samples images/ -o report.json -o report.sarif -o report.junit.xml
  bdscan scan model.onnx --samples images/ -o - --quiet | jq .verdict

\b
Exit codes:
  0  clean: looked, and found nothing beyond the stated false-alarm rate
  1  the verdict is at or above --fail-on
  2  a file, an option or the samples cannot be used
  3  the model cannot be judged, or the verdict is inconclusive
  130  interrupted
"""


class Budget(StrEnum):
    quick = "quick"
    standard = "standard"
    thorough = "thorough"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def scan(
    model: Annotated[str, typer.Argument(help="The file to scan.", show_default=False)],
    samples: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="Clean images: a folder of class folders, or an .npz with x (uint8, N,H,W,C) and y. "
            "Two a class are enough to run, ten are better.",
            show_default=False,
        ),
    ],
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="For weights without an architecture: torchvision:NAME, or file.py:factory (run as your own code).",
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write a report; the suffix names the format; - is stdout. Repeats."
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format where no suffix says it: json, html, text, sarif, junit, markdown, cyclonedx.",
        ),
    ] = None,
    budget: Annotated[Budget, typer.Option(help="How much work to do.")] = Budget.standard,
    detectors: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Only these, e.g. steps,inversion; `bdscan detectors` lists them."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    fail_on: Annotated[FailOn, typer.Option(help="The least verdict that exits with 1.")] = FailOn.suspicious,
    seed: Annotated[int, typer.Option(help="The same seed gives the same report.")] = 0,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Class names, one a line, in the order of the outputs.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A trusted network for the same classes, to compare with.")
    ] = None,
    reference_arch: Annotated[str | None, typer.Option(metavar="ARCH", help="Its --arch, if it needs one.")] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help='Instead of the probe, e.g. "mean=0.5,0.5,0.5 std=0.5,0.5,0.5 order=BGR layout=NHWC".'
        ),
    ] = None,
    rules: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Your own rules, added to the built-in ones. Repeats.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; part of what makes two runs equal.")] = 2,
    memory_gb: Annotated[float, typer.Option(help="The most memory the worker may allocate, GiB.")] = 16,
    time_limit: Annotated[float, typer.Option(help="The most time a scan may take, seconds.")] = 3600,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and notes; only the result.")] = False,
    require_sandbox: Annotated[
        bool,
        typer.Option("--require-sandbox", help="Refuse to scan where the worker's files and system calls are open."),
    ] = False,
    no_isolation: Annotated[
        bool, typer.Option("--no-isolation", help="Scan in this process, for debugging: only files that you trust.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan import api
        from bdscan.cli import outputs, progress

        settings = api.make_settings(
            model=model,
            samples=samples,
            arch=arch,
            labels=labels,
            reference=reference,
            reference_arch=reference_arch,
            preprocessing=preprocessing,
            detectors=tuple(name.strip() for name in (detectors or "").split(",") if name.strip()),
            rules=tuple(rules or ()),
            budget=budget.value,
            device=device.value,
            seed=seed,
            threads=threads,
            memory_gb=memory_gb,
            time_limit=time_limit,
            require_sandbox=require_sandbox,
        )
        inputs = [path for path in (model, samples, labels, reference, *settings.rules) if path]
        planned = outputs.plan(output or [], format_name, inputs)
        with progress.shown(quiet) as report_step:
            report = api.run(settings, isolate=not no_isolation, progress=report_step)
        report = _completed(report, model, planned)
        outputs.write(report, planned)
        _say(report, planned, quiet)
        code = exit_code(report.verdict, fail_on)
        if code == 0 and report.verdict == "suspicious" and not quiet:
            note(f"the verdict is suspicious, below --fail-on {fail_on}: exit code 0")
    raise typer.Exit(code)


def _completed(report: Report, model: str, planned: tuple[Output, ...]) -> Report:
    """With what only this process knows: the worker has another view of the files."""
    known = {"outputs": tuple(output.path for output in planned), "model_in_repository": in_repository(model)}
    return report.model_copy(update={"run": report.run.model_copy(update=known)})


def _say(report: Report, planned: tuple[Output, ...], quiet: bool) -> None:
    """The terminal report where stdout is free for it; notes on stderr."""
    to_stdout = any(output.path == "-" for output in planned)
    if not to_stdout and not (quiet and planned):
        from rich.console import Console

        from bdscan.formats.terminal import print_report

        print_report(report, Console())
    if quiet:
        return
    if to_stdout:
        note(f"{report.verdict}: {report.summary}")
    for output in planned:
        if output.path != "-":
            note(f"wrote {output.path}")
