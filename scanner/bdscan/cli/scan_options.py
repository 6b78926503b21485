"""The options of `bdscan scan`, each with its help. What they are called here is what a configuration calls them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from bdscan.cli.config import merge
from bdscan.cli.exits import FailOn as Least


class Budget(StrEnum):
    quick = "quick"
    standard = "standard"
    thorough = "thorough"


class Executor(StrEnum):
    local = "local"
    ray = "ray"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL", help="Files to scan, or quoted patterns such as 'models/**/*.onnx'."),
]
Samples = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Clean images: a folder of class folders, or an .npz with x (uint8, N,H,W,C) and y. "
        "Folders named by numbers are outputs; others take them in the order of --labels, or sorted. Two a class are "
        "enough to run, ten are better.  [required]",
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        metavar="ARCH",
        help="For weights without an architecture: torchvision:NAME, or file.py:factory (run as your own code).",
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write a report; the suffix names the format; - is stdout. Repeats. With several models name it by "
        "{name} or {path}, e.g. -o 'reports/{name}.sarif'.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format where no suffix says it: json, html, text, sarif, junit, markdown, cyclonedx.",
    ),
]
Summary = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write what came of each model, and the exit code, as JSON or Markdown (.md)."),
]
HowMuch = Annotated[
    Budget, typer.Option("--budget", help="How much work to do. quick finds less: a silence says less.")
]
Detectors = Annotated[
    str | None, typer.Option(metavar="LIST", help="Only these, e.g. steps,inversion; `bdscan detectors` lists them.")
]
Where = Annotated[Device, typer.Option("--device", help="Where to compute.")]
TrainOn = Annotated[
    Device,
    typer.Option("--device", help="auto takes a GPU if there is one; on it a model is not the same to the bit."),
]
FailOn = Annotated[Least, typer.Option(help="The least verdict that exits with 1.")]
Waivers = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="TOML of findings that do not count for the exit code, each until a date."),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same report.")]
Labels = Annotated[
    str | None, typer.Option(metavar="FILE", help="Class names, one a line, in the order of the outputs.")
]
Reference = Annotated[
    str | None, typer.Option(metavar="MODEL", help="A trusted network for the same classes, to compare with.")
]
ReferenceArch = Annotated[str | None, typer.Option(metavar="ARCH", help="Its --arch, if it needs one.")]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC", help='Instead of the probe, e.g. "mean=0.5,0.5,0.5 std=0.5,0.5,0.5 order=BGR layout=NHWC".'
    ),
]
Rules = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="Your own rules, added to the built-in ones. Repeats.")
]
Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Take p-values from clean models of your own: what `bdscan zoo calibrate` wrote."
    ),
]
Jobs = Annotated[
    int, typer.Option(metavar="N", min=1, max=256, help="Scans at a time, each with its own --threads and memory.")
]
Engine = Annotated[
    Executor, typer.Option("--executor", help="What runs the work: this machine, or Ray (the extra `ray`).")
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A Ray cluster that shares the files. Without it: one of this machine alone."),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Keep reports there and use them again; `user` is the user's cache folder. Off without it."
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="No cache, whatever a configuration says.")]
Threads = Annotated[int, typer.Option(help="CPU threads; part of what makes two runs equal.")]
MemoryGb = Annotated[float, typer.Option(help="The most memory the worker may allocate, GiB.")]
TimeLimit = Annotated[float, typer.Option(help="The most time a scan may take, seconds.")]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=merge,
        envvar="BDSCAN_CONFIG",
        show_envvar=False,
        help="Options from this file, instead of bdscan.toml or [tool.bdscan] in pyproject.toml. BDSCAN_NAME in the "
        "environment comes before a file, a flag before both.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and notes; with -o, nothing but the files.")]
RequireSandbox = Annotated[
    bool,
    typer.Option("--require-sandbox", help="Refuse to scan where the worker's files and system calls are open."),
]
NoIsolation = Annotated[
    bool, typer.Option("--no-isolation", help="Scan in this process, for debugging: only files that you trust.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")]
