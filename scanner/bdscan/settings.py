"""What one scan was asked to do. Command line, library and worker share this one value."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from bdscan.report import Value

Budget = Literal["quick", "standard", "thorough"]
IMAGE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
)  # of samples, for the intake that decodes them and for the sandbox that lets them be read


class Settings(Value):
    """All that decides a scan's result, and the limits it runs under.

    Paths are the user's own strings: a report shows them as given. `preprocessing` overrides the probe, e.g.
    `scale=255`, `mean=0.5,0.5,0.5 std=0.5,0.5,0.5 order=BGR layout=NHWC` (space-separated key=value).
    """

    model: str
    samples: str
    arch: str | None = None
    labels: str | None = None
    reference: str | None = None
    reference_arch: str | None = None
    preprocessing: str | None = None
    detectors: tuple[str, ...] = ()  # empty: all
    rules: tuple[str, ...] = ()
    calibration: str | None = None  # references of the user's own, instead of the built-in ones
    budget: Budget = "standard"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    threads: int = Field(default=2, ge=1, le=256)
    memory_gb: float = Field(default=16, gt=0)
    time_limit: float = Field(default=3600, gt=0, description="wall-clock seconds for the worker")
    require_sandbox: bool = Field(default=False, description="refuse to scan with less than the whole sandbox")


class RepairSettings(Settings):
    """A repair of `model`: the settings of the scans before and after it, and what is to be unlearned.

    Attributes:
        report: the JSON report that names the triggers.
        name: the result's file name, without a folder; an ONNX file names its weights file after it.
        weaknesses: also unlearn natural weaknesses.
        max_accuracy_drop: points of clean accuracy that may be lost before the repair is rejected.
    """

    report: str
    name: str = Field(pattern=r"^[^/\\\x00]{1,200}$")
    weaknesses: bool = False
    max_accuracy_drop: float = Field(default=2.0, ge=0, le=100)

    @property
    def scan(self) -> Settings:
        """Of the scans alone."""
        return _scan_of(self)


class ProfileSettings(Settings):
    """A profile of the triggers that a report of `model` names.

    Attributes:
        report: the JSON report that names the triggers.
        trigger: a file with a trigger of the user's own, to be profiled first; it sends images of the classes
            `sources` (empty: all) to `target`.
        guard: file name, without a folder, of the guarded model; None: none is written.
        weaknesses: natural weaknesses too.
        max_accuracy_drop: points of clean accuracy that an advised transformation may cost.
    """

    report: str
    trigger: str | None = None
    target: int | None = Field(default=None, ge=0)
    sources: tuple[int, ...] = ()
    guard: str | None = Field(default=None, pattern=r"^[^/\\\x00]{1,200}$")
    weaknesses: bool = False
    max_accuracy_drop: float = Field(default=2.0, ge=0, le=100)

    @property
    def scan(self) -> Settings:
        """Of the loading alone."""
        return _scan_of(self)


def _scan_of(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump(include=set(Settings.model_fields)))
