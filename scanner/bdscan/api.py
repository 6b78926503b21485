"""The library's door: `from bdscan import scan`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from bdscan.errors import UsageError
from bdscan.mitigate.outcome import Profile
from bdscan.repair.outcome import Repair
from bdscan.report import Isolation, Report
from bdscan.settings import ProfileSettings, RepairSettings, Settings

PathLike = str | os.PathLike[str]
Progress = Callable[[str, float], None]
Given = TypeVar("Given", bound=Settings)


def scan(
    model: PathLike,
    samples: PathLike,
    *,
    arch: str | None = None,
    labels: PathLike | None = None,
    reference: PathLike | None = None,
    reference_arch: str | None = None,
    preprocessing: str | None = None,
    detectors: Iterable[str] = (),
    rules: Iterable[PathLike] = (),
    calibration: PathLike | None = None,
    budget: Literal["quick", "standard", "thorough"] = "standard",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    seed: int = 0,
    threads: int = 2,
    memory_gb: float = 16,
    time_limit: float = 3600,
    isolate: bool = True,
    require_sandbox: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Scan the classifier in the file `model` with the clean images in `samples`.

    Args:
        model: ONNX, TorchScript, state_dict, safetensors or whole module.
        samples: a folder of class folders, or an `.npz` with `x` (uint8, N,H,W,C), `y` (N,) and optionally `classes`.
        arch: for files without an architecture: `torchvision:NAME` or `file.py:factory`. Such a file is run as code.
        isolate: run in a worker process with limits. Without it a hostile file meets your own process.
        require_sandbox: refuse (`UsageError`) where the worker's files and system calls cannot both be confined.
        progress: called with a stage's name and the share of it that is done, 0..1.

    The others are the fields of `Settings`. Raises `UsageError` for files, samples or options that cannot be used and
    `CannotJudge` for a model that cannot be judged.
    """
    settings = make_settings(
        model=os.fspath(model),
        samples=os.fspath(samples),
        arch=arch,
        labels=None if labels is None else os.fspath(labels),
        reference=None if reference is None else os.fspath(reference),
        reference_arch=reference_arch,
        preprocessing=preprocessing,
        detectors=tuple(detectors),
        rules=tuple(os.fspath(path) for path in rules),
        calibration=None if calibration is None else os.fspath(calibration),
        budget=budget,
        device=device,
        seed=seed,
        threads=threads,
        memory_gb=memory_gb,
        time_limit=time_limit,
        require_sandbox=require_sandbox,
    )
    return run(settings, isolate=isolate, progress=progress)


def make_settings(**values: object) -> Settings:
    """Settings, or a `UsageError` that names the first wrong one."""
    return _validated(Settings, values)


def _validated(kind: type[Given], values: dict[str, object]) -> Given:
    try:
        settings = kind.model_validate(values)
        settings.model_dump_json()
    except PydanticSerializationError:
        raise UsageError("a path or an option is not valid UTF-8; rename the file") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        option = "output" if name == "name" else name.replace("_", "-")
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--{option}: {said[:1].lower()}{said[1:]}") from None
    return settings


def make_repair_settings(**values: object) -> RepairSettings:
    """As `make_settings`, for a repair."""
    return _validated(RepairSettings, values)


def repair_to(
    settings: RepairSettings,
    output: str,
    progress: Progress | None = None,
    enough: threading.Event | None = None,
) -> tuple[Repair, tuple[str, ...]]:
    """Repair in a worker process; the account of it, and the files that were written.

    Once `enough` is set, training ends with the round that runs, and what there is by then is verified and written.

    Raises `UsageError` where a file cannot be used or `output` cannot be written (before the work), `CannotJudge` where
    the model cannot be repaired.
    """
    from bdscan import destination
    from bdscan.deliver import deliver, may_write, named
    from bdscan.jail.parent import repair_isolated

    check_files(settings)
    _need_file("--report", settings.report)
    destination.check_for(settings, "--output", output, may_write(output))
    with repair_isolated(settings, progress or _quietly, enough) as (result, private):
        result = named(result, output)
        largest = sum(file.bytes for file in result.before.subject.files if file.role in ("model", "sidecar"))
        try:
            return result, deliver(private, result, settings.name, output, largest)
        except OSError as error:
            raise UsageError(f"--output {output}: cannot be written ({error.strerror})") from None


def make_profile_settings(**values: object) -> ProfileSettings:
    """As `make_settings`, for a profile."""
    return _validated(ProfileSettings, values)


def profile(
    settings: ProfileSettings, guard: str | None = None, progress: Progress | None = None
) -> tuple[Profile, tuple[str, ...]]:
    """Profile in a worker process; the profile, and what was written of the guarded model, which goes to `guard`.

    Nothing is written where no fixed transformation helps. Raises as `repair_to`.
    """
    from bdscan import destination
    from bdscan.deliver import deliver_guard, guard_may_write, guard_named
    from bdscan.jail.parent import profile_isolated

    check_files(settings)
    _need_file("--report", settings.report)
    if (settings.trigger is None) != (settings.target is None):
        raise UsageError("--trigger and --target: give both, the file and the class that it sends images to")
    if settings.sources and settings.trigger is None:
        raise UsageError("--source: it is for a trigger of your own; give --trigger and --target as well")
    if settings.trigger is not None:
        _need_file("--trigger", settings.trigger)
    if guard is not None:
        destination.check_for(settings, "--guard", guard, guard_may_write(guard))
    with profile_isolated(settings, progress or _quietly) as (result, private):
        if guard is None or settings.guard is None or result.guard is None:
            return result, ()
        try:
            largest = sum(file.bytes for file in result.files if file.role in ("model", "sidecar"))
            written = deliver_guard(private, result.guard, settings.guard, guard, largest)
        except OSError as error:
            raise UsageError(f"--guard {guard}: cannot be written ({error.strerror})") from None
        return result.model_copy(update={"guard": guard_named(result.guard, guard)}), written


def run(
    settings: Settings,
    *,
    isolate: bool = True,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Check that the named files exist, then scan. Setting `stop` ends the worker, and the scan with `Stopped`."""
    check_files(settings)
    report_step = progress or _quietly
    if isolate:
        from bdscan.jail.parent import run_isolated

        return run_isolated(settings, report_step, stop)
    if settings.require_sandbox:
        raise UsageError("--require-sandbox and --no-isolation contradict each other: leave one out")
    return _run_here(settings, report_step)


def check_files(settings: Settings) -> None:
    """`UsageError` for a file that is not there or is empty: said in milliseconds, before a worker starts.

    Only the file system is asked; nothing is opened.
    """
    _need_file("model", settings.model)
    samples = Path(settings.samples)
    if not samples.is_dir():
        _need_file("--samples", settings.samples)
    for option, value in (
        ("--labels", settings.labels),
        ("--reference", settings.reference),
        ("--calibration", settings.calibration),
    ):
        if value is not None:
            _need_file(option, value)
    for path in settings.rules:
        _need_file("--rules", path)
    for option, value in (("--arch", settings.arch), ("--reference-arch", settings.reference_arch)):
        file, colon, _ = (value or "").rpartition(":")
        if colon and file.endswith(".py"):
            _need_file(option, file)


def _need_file(what: str, name: str) -> None:
    path = Path(name)
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UsageError(f"{what}: cannot read {name!r} ({reason or 'unknown error'}); check the path") from None
    if path.is_dir():
        raise UsageError(f"{what}: {name!r} is a folder; name a file in it")
    if size == 0 and path.is_file():
        raise UsageError(f"{what}: {name!r} is empty (0 bytes); download or export it again")


def _run_here(settings: Settings, progress: Progress) -> Report:
    from bdscan.jail.compute import deterministic
    from bdscan.pipeline import run as run_pipeline

    with deterministic(settings):
        report = run_pipeline(settings, progress)
    alone = Isolation(level="none", missing=("worker process", "limits", "file system sandbox", "system call filter"))
    return report.model_copy(update={"isolation": alone})


def _quietly(stage: str, share: float) -> None:
    pass
