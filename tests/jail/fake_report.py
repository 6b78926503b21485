"""A small valid report, for tests of what carries reports about."""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from bdscan import __version__
from bdscan.report import (
    Calibration,
    Isolation,
    Label,
    Measured,
    Preprocessing,
    Report,
    Run,
    SamplesInfo,
    Skipped,
    Subject,
    Tool,
)
from bdscan.settings import Settings


def surroundings() -> dict[str, str]:
    """What the process sees of its limits and environment, for the parent's test to read."""
    import torch

    limits = ("RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
    return {
        "environment": json.dumps(dict(os.environ)),
        "limits": json.dumps({name: resource.getrlimit(getattr(resource, name))[0] for name in limits}),
        "path": json.dumps(sys.path),
        "threads": str(torch.get_num_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "session": str(os.getsid(0) == os.getpid()),
    }


def make(settings: Settings, extra: dict[str, Any] | None = None, verdict: str | None = None) -> Report:
    """The verdict is the name of the model where that is one, else clean."""
    name = os.path.basename(settings.model).removesuffix(".onnx")
    said = verdict or (name if name in {"clean", "suspicious", "backdoor", "inconclusive"} else "clean")
    classes = tuple(Label(index=i, name=word) for i, word in enumerate(("cat", "dog")))
    return Report(
        tool=Tool(version=__version__),
        verdict=said,
        summary=f"a fake scan says {said}",
        score=0.5,
        p_value=0.4,
        subject=Subject(
            path=settings.model,
            digest="0" * 64,
            files=(),
            format="onnx",
            input_shape=(3, 8, 8),
            classes=classes,
            parameters=100,
            preprocessing=Preprocessing(),
            output="logits",
            clean_accuracy=0.9,
            clean_accuracy_n=10,
        ),
        samples=SamplesInfo(path=settings.samples, digest="1" * 64, count=10, per_class=(5, 5), search=6, held_out=4),
        findings=(),
        stages=(Measured(name="steps"), Skipped(name="graph", reason="no graph")),
        statistics=(),
        calibration=Calibration(name="none", sha256="", references=0, provisional=True),
        isolation=Isolation(level="unset"),
        settings={"seed": settings.seed, **(extra or {})},
        run=Run(started="2026-01-01T00:00:00Z", host="h", seconds=1.0, stages=()),
    )
