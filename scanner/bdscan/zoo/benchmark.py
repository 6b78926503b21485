"""`bdscan zoo benchmark`: the whole scan command's time and memory, and P1's published schedule beside it.

One process at a time: the command runs alone, then the schedule is timed on the same network with as many threads.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.speed import has_bfloat16
from bdscan.report import Report
from bdscan.zoo.baselines import p1_schedule
from bdscan.zoo.benchmark_markdown import page
from bdscan.zoo.benchmark_subjects import BenchmarkSubject, large, small
from bdscan.zoo.record import made, without_folders, write_json, write_text
from bdscan.zoo.scan_table import is_right
from bdscan.zoo.whole_command import timed

PARTS = ("help", "mnist", "gtsrb", "resnet18", "imagenet1000")
HELP_RUNS, HELP_SECONDS, MOST_FOR_CLASSES = 5, 0.5, 5.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Bounds:
    """What a part must keep to: seconds, memory in MiB, and times faster than the published schedule."""

    seconds: float | None = None
    peak_mb: float | None = None
    faster: float | None = None


def bounds(part: str) -> Bounds:
    if part == "mnist":
        return Bounds(30, 3 * 1024, 40)
    if part == "gtsrb":
        return Bounds(90, 3 * 1024, 100)
    if part == "resnet18":
        return Bounds(240 if has_bfloat16(torch.device("cpu")) else 480, 3 * 1024, 40)
    return Bounds(600, 6 * 1024) if part == "imagenet1000" else Bounds()


def run(
    parts: Sequence[str],
    data: Path,
    models: Path,
    out: Path,
    markdown: Path | None,
    *,
    command: str,
    seed: int = 0,
    threads: int = 2,
    device: str = "cpu",
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the parts, writing the table after each; rows of other parts in `out` stay. Returns the table.

    Raises UsageError for an unknown part or missing data, CannotJudge where a scan leaves no report.
    """
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"--part: no part {part!r}; choose of {', '.join(PARTS)}")
    rows = _kept(out)
    table: dict[str, Any] = {"rows": rows}
    for part in (p for p in PARTS if p in parts):
        note(f"{part} ...")
        header = made(command, seed=seed, threads=threads, device=device)
        with tempfile.TemporaryDirectory() as scratch:
            for name, row in _measure(part, data, models, Path(scratch), seed, threads, device):
                rows[name] = {**row, "made": header}
                note(f"{name}: {row['seconds']:.2f} s")
        table = {**header, "rows": {name: rows[name] for name in sorted(rows)}}
        write_json(out, table)
        if markdown is not None:
            write_text(markdown, page(table))
    return table


def _measure(
    part: str, data: Path, models: Path, scratch: Path, seed: int, threads: int, device: str
) -> list[tuple[str, Row]]:
    if part == "help":
        return [(part, help_time())]
    if part != "imagenet1000":
        subject = small(part, data, models, scratch, seed)
        return [(part, measure(subject, bounds(part), "standard", scratch, seed, threads, device))]
    few = measure(large(10, data, scratch, seed), Bounds(), "quick", scratch, seed, threads, device)
    many = measure(large(1000, data, scratch, seed), bounds(part), "quick", scratch, seed, threads, device)
    many["classes_factor"] = many["seconds"] / few["seconds"]
    many["within"]["classes"] = many["classes_factor"] <= MOST_FOR_CLASSES
    return [("imagenet10", few), (part, many)]


def help_time() -> Row:
    """Median seconds of `bdscan --help`, after one run that fills the disk's cache."""
    timed(["--help"])
    seconds = [timed(["--help"]).seconds for _ in range(HELP_RUNS)]
    middle = statistics.median(seconds)
    return {"seconds": middle, "limits": {"seconds": HELP_SECONDS}, "within": {"seconds": middle <= HELP_SECONDS}}


def measure(
    subject: BenchmarkSubject, limits: Bounds, budget: str, scratch: Path, seed: int, threads: int, device: str
) -> Row:
    """The whole command on one network, then the published schedule on the same, and both compared."""
    result = scratch / "report.json"
    arguments = ["scan", str(subject.weights), "--samples", str(subject.samples), "--arch", subject.arch]
    arguments += ["--budget", budget, "--seed", str(seed), "--threads", str(threads), "--device", device]
    whole = timed([*arguments, "--quiet", "-o", str(result)])
    if not result.exists():
        last = (whole.errors.strip().splitlines() or ["no message"])[-1]
        raise CannotJudge(f"{subject.name}: the scan ended with {whole.code}: {without_folders(last)[:300]}")
    report = Report.model_validate_json(result.read_text())
    result.unlink()
    slow = schedule(subject, threads, device)
    faster = slow.seconds / whole.seconds
    within = {
        "seconds": limits.seconds is None or whole.seconds <= limits.seconds,
        "memory": limits.peak_mb is None or whole.peak_mb <= limits.peak_mb,
        "faster": limits.faster is None or faster >= limits.faster,
    }
    row: Row = {
        "network": subject.name,
        "note": subject.note,
        "parameters": subject.parameters,
        "classes": subject.classes,
        "budget": budget,
        "device": report.run.device,
        "seconds": whole.seconds,
        "scan_seconds": report.run.seconds,
        "peak_mb": whole.peak_mb,
        "report_peak_mb": report.run.peak_memory_mb,
        "verdict": report.verdict.value,
        "summary": without_folders(report.summary),
        "stages": {stage.name: stage.seconds for stage in report.run.stages},
        "failed_stages": [without_folders(f"{s.name}: {s.error}") for s in report.stages if s.outcome == "failed"],
        "schedule": {
            "epoch_seconds": slow.epoch_seconds,
            "epochs_measured": slow.measured,
            "labels": slow.labels,
            "seconds": slow.seconds,
        },
        "faster": faster,
        "limits": {"seconds": limits.seconds, "peak_mb": limits.peak_mb, "faster": limits.faster},
    }
    if subject.targets is not None:
        within["right"] = is_right(
            report, "backdoored" if subject.targets else "clean", subject.targets, [()] * len(subject.targets)
        )
        row["targets"] = list(subject.targets)
    return {**row, "within": within}


def schedule(subject: BenchmarkSubject, threads: int, device: str) -> p1_schedule.Extrapolated:
    """P1's schedule on the subject's samples, in ordinary float32."""
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    with np.load(subject.samples, allow_pickle=False) as archive:
        x = archive["x"]
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[: p1_schedule.IMAGES])
    images = (torch.from_numpy(x[rows]).permute(0, 3, 1, 2).float() / 255).contiguous().to(place)
    module = subject.module.to(place).requires_grad_(False)

    def model(batch: Tensor) -> Tensor:
        logits: Tensor = module((batch - subject.mean) / subject.std)
        return logits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return p1_schedule.extrapolate(model, images, subject.classes)
    finally:
        torch.set_num_threads(before)


def _kept(out: Path) -> dict[str, Row]:
    if not out.exists():
        return {}
    try:
        return dict(json.loads(out.read_text())["rows"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{out}: not a table of this command; remove it or name another file") from None
