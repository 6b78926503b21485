"""A training plan on Ray: a job for each model. Nodes read the data and write the models by path."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

from bdscan.cache_key import program_digest
from bdscan.errors import CannotJudge, UsageError
from bdscan.on_ray.engine import call, connected
from bdscan.on_ray.job import enter
from bdscan.report import Value
from bdscan.zoo import plan
from bdscan.zoo.data import load


class Order(Value):
    """Train `model` of a plan; relative paths start at `folder`, and the program is the one of this digest."""

    plan: str
    model: str
    out: str
    data: str | None
    threads: int
    folder: str
    program: str


def run_plan_on_ray(
    name: str,
    out: Path,
    data: Path | None,
    *,
    address: str | None,
    jobs: int,
    threads: int,
    only: str,
    note: Callable[[str], None],
) -> list[Path]:
    """As `plan.run_plan`, at most `jobs` models at a time. `CannotJudge` at the end where some were not trained."""
    models = plan.chosen(name, only)
    todo = [settings.name for settings in models if not plan.is_made(out / settings.name, settings)]
    for settings in models:
        if settings.name not in todo:
            note(f"{settings.name}: there already")
    if not todo:
        return [out / settings.name for settings in models]
    stop, failed = Event(), []

    def train(model: str) -> str:
        order = Order(
            plan=name,
            model=model,
            out=str(out),
            data=None if data is None else str(data),
            threads=threads,
            folder=os.getcwd(),
            program=program_digest(),
        )
        answer = call(
            trained,
            order.model_dump_json().encode(),
            cpus=threads,
            gpus=0,
            stop=stop,
            say=lambda text: note(f"{model}: {text}"),
        )
        return answer.decode()

    with connected(address, jobs * threads), ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(train, model): model for model in todo}
        try:
            for done in as_completed(running):
                try:
                    note(done.result())
                except (CannotJudge, UsageError) as error:
                    failed.append(running[done])
                    note(f"{running[done]}: not trained: {error}")
        finally:
            stop.set()
    if failed:
        raise CannotJudge(f"{len(failed)} of {len(todo)} models were not trained: {', '.join(sorted(failed))}")
    return [out / settings.name for settings in models]


def trained(order: bytes) -> bytes:
    """On the node: train one model into its folder; a line about it."""
    asked = Order.model_validate_json(order)
    enter(asked.folder, asked.program)
    (settings,) = (each for each in plan.chosen(asked.plan) if each.name == asked.model)
    images = load(settings.data, None if asked.data is None else Path(asked.data))
    return plan.train_into(Path(asked.out) / settings.name, settings, images, asked.threads).encode()
