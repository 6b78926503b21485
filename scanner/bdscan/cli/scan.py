"""`bdscan scan`: from suspect files and a few clean images to verdicts and reports."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import typer

from bdscan.cli import scan_options as given
from bdscan.cli.exits import FailOn, guarded, note

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from bdscan.executor import Progress, Scan
    from bdscan.report import Report
    from bdscan.settings import Settings

HELP = """Scan classifiers for planted backdoors.

MODEL is an ONNX file, a TorchScript file, a state_dict (.pt, .pth, .safetensors) or a whole module.
It is opened in a worker process with limits, never in this one.

\b
Examples:
  bdscan scan model.onnx --samples images/
  bdscan scan resnet.pth --arch torchvision:resnet18 --samples images/ -o report.html
  bdscan scan net.pt --arch net.py:make --samples ten_per_class.npz -o report.json -o report.html
  bdscan scan model.onnx --samples images/ -o report.json -o report.sarif -o report.junit.xml
  bdscan scan model.onnx --samples images/ -o - --quiet | jq .verdict
  bdscan scan 'models/*.onnx' --samples images/ --jobs 2 -o 'reports/{name}.sarif'

\b
Exit codes, the same for every format; over several models 1 comes before 3, 2 and 0:
  0  clean: looked, and found nothing beyond what clean networks show
  1  the verdict, without waived findings, is at or above --fail-on
  2  a file, an option or the samples cannot be used
  3  the model cannot be judged, or the verdict is inconclusive
  130  interrupted
"""


def scan(
    context: typer.Context,
    models: given.Models,
    samples: given.Samples = None,
    arch: given.Arch = None,
    output: given.Outputs = None,
    format_name: given.Format = None,
    summary: given.Summary = None,
    budget: given.HowMuch = given.Budget.standard,
    detectors: given.Detectors = None,
    device: given.Where = given.Device.auto,
    fail_on: given.FailOn = FailOn.suspicious,
    waivers: given.Waivers = None,
    seed: given.Seed = 0,
    labels: given.Labels = None,
    reference: given.Reference = None,
    reference_arch: given.ReferenceArch = None,
    preprocessing: given.Preprocessing = None,
    rules: given.Rules = None,
    calibration: given.Calibration = None,
    jobs: given.Jobs = 1,
    executor: given.Engine = given.Executor.local,
    ray_address: given.RayAddress = None,
    cache: given.Cache = None,
    no_cache: given.NoCache = False,
    threads: given.Threads = 2,
    memory_gb: given.MemoryGb = 16,
    time_limit: given.TimeLimit = 3600,
    config: given.Config = None,
    quiet: given.Quiet = False,
    require_sandbox: given.RequireSandbox = False,
    no_isolation: given.NoIsolation = False,
    debug: given.Debug = False,
) -> None:
    with guarded(debug):
        from bdscan import api
        from bdscan.cli import gate, outputs
        from bdscan.cli.config import source_of
        from bdscan.cli.models import STDOUT, expand, outputs_for
        from bdscan.errors import UsageError
        from bdscan.waivers import load_waivers

        if samples is None:
            raise UsageError("--samples is missing: name clean images of the model's classes, or set samples in a file")
        if no_isolation and jobs > 1:
            raise UsageError("--no-isolation scans one model at a time; leave out --jobs")
        on_ray = executor is given.Executor.ray
        if no_isolation and on_ray:
            raise UsageError("--no-isolation scans in this process; leave out --executor ray")
        if ray_address is not None and not on_ray:
            raise UsageError("--ray-address is for --executor ray; add it, or leave out the address")
        options = {
            "samples": samples,
            "arch": arch,
            "labels": labels,
            "reference": reference,
            "reference_arch": reference_arch,
            "preprocessing": preprocessing,
            "detectors": tuple(name.strip() for name in (detectors or "").split(",") if name.strip()),
            "rules": tuple(rules or ()),
            "calibration": calibration,
            "budget": budget.value,
            "device": device.value,
            "seed": seed,
            "threads": threads,
            "memory_gb": memory_gb,
            "time_limit": time_limit,
            "require_sandbox": require_sandbox,
        }
        settings = [api.make_settings(model=model, **options) for model in expand(models)]
        source = source_of(context)
        others = (samples, labels, reference, calibration, waivers, source.file, *(rules or ()))
        inputs = [*(path for path in others if path), *(each.model for each in settings)]
        paths = outputs_for([each.model for each in settings], output or ([STDOUT] if format_name else []))
        if summary is not None:
            outputs.plan_summary(summary, [path for each in paths for path in each], inputs)
        say = _nothing if quiet else note
        plan = gate.Gate(
            planned=tuple(outputs.plan(each, format_name, inputs) for each in paths),
            scan=_scan(not no_isolation, on_ray, None if no_cache else cache, say),
            fail_on=fail_on,
            waivers=load_waivers(waivers) if waivers else (),
            jobs=jobs,
            config=source.file,
            quiet=quiet,
            summary=summary,
        )
        if source.keys:
            say(f"{source.file} sets {', '.join(source.keys)}")
        with _ray(ray_address, jobs * threads) if on_ray else nullcontext():
            code = gate.run(settings, plan)
    raise typer.Exit(code)


def _scan(isolate: bool, on_ray: bool, cache: str | None, say: Callable[[str], None]) -> Scan:
    from bdscan import api

    def here(settings: Settings, progress: Progress, stop: Event) -> Report:
        return api.run(settings, isolate=isolate, progress=progress, stop=stop)

    run: Scan = here
    if on_ray:
        from bdscan.on_ray.job import scan_on_ray

        run = scan_on_ray(say)
    if cache is None:
        return run
    from bdscan.cache import cached, open_cache

    opened = open_cache(cache)

    def look_first(settings: Settings, progress: Progress, stop: Event) -> Report:
        api.check_files(settings)
        return cached(opened, settings, isolate, lambda: run(settings, progress, stop), say)

    return look_first


def _ray(address: str | None, cpus: int) -> AbstractContextManager[None]:
    from bdscan.on_ray.engine import connected

    return connected(address, cpus)


def _nothing(text: str) -> None:
    pass
