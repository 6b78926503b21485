"""`bdscan zoo`: train models of known truth, clean and backdoored, and measure scans on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdscan.cli import zoo_branches, zoo_data, zoo_enhanced, zoo_full_schedule, zoo_p4, zoo_survey, zoo_titim
from bdscan.cli.exits import guarded, note
from bdscan.cli.scan_options import Budget, Device, Engine, Executor, RayAddress, TrainOn
from bdscan.errors import UsageError

if TYPE_CHECKING:
    from bdscan.zoo.attacks import Attack

app = typer.Typer(
    help="Train models of known truth, clean and backdoored, and measure scans on them.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

TRAIN_HELP = """Train one model and write it to the folder OUT with a card of its truth.

\b
Examples:
  bdscan zoo train out/clean --dataset digits --network digits_cnn
  bdscan zoo train out/bad --dataset digits --network digits_cnn --attack badnets --target 3
  bdscan zoo train out/pair --dataset digits --network digits_cnn --attack badnets --source 4 --target 7
  bdscan zoo train out/sig --dataset mnist --data data --network mnist_cnn --attack sig --intensity 0.5
"""
PLAN_HELP = """Train the models of a named plan, a folder each under OUT; those that have a card stay as they are.

\b
Examples:
  bdscan zoo plan scan-judge models/ --data data/
  bdscan zoo plan scan-judge models/ --data data/ --executor ray --jobs 8
"""
SCAN_TABLE_HELP = """Scan every network that has a card, and write the verdicts beside the truth.

FOLDER holds a card.json, or folders that do: networks of `bdscan zoo train`, or published ones with an arch.py.
A scan gets the network's own file, its architecture, and ten clean images a class: those of the folder's samples.npz,
or drawn from the test split of the card's data set. Tables are written after every network.

\b
With --compare each network is also loaded in this process, without isolation, to compare the recovered triggers with
the true ones, Steps with DMS-Steps, and the seconds a sample: only for networks whose origin you know.

\b
Example:
  bdscan zoo scan-table models/ --data data/ --out docs/verdicts.json --markdown docs/verdicts.md --resume
"""
BENCHMARK_HELP = """Time the whole scan command, and a published schedule of trigger inversion beside it.

MODELS holds networks of `bdscan zoo train` (mnist-badnets, gtsrb-badnets, one of network resnet18_cifar). Where one is
missing, its architecture gets random features and a last layer that is right on the samples, and the table says so.
Every part runs alone; a part that is measured again replaces its row in OUT, the others stay.

\b
Example:
  bdscan zoo benchmark --data data/ --models models/ --out docs/benchmark.json --markdown docs/benchmark.md
"""
REPAIR_TABLE_HELP = """Scan and repair every backdoored network that has a card, and measure with its true trigger.

The scan and the first repair are the commands themselves; further seeds and the baselines (fine-tuning, fine-pruning,
channel-Lipschitz pruning) run in this process, without isolation: only for networks whose origin you know. With
--weaknesses clean networks get a table too: class distance before and after their natural weaknesses are unlearned.

\b
Example:
  bdscan zoo repair-table models/ --data data/ --out docs/repairs.json --markdown docs/repairs.md --resume
"""

DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with one .npz a data set.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]


@app.command("train", help=TRAIN_HELP)
def train(
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="digits, or NAME.npz in --data.", show_default=False)],
    network: Annotated[str, typer.Option(metavar="NAME", help="A network of the zoo.", show_default=False)],
    data: DataDir = None,
    attack: Annotated[
        str | None, typer.Option(metavar="ATTACK", help="A name, or the JSON object of a card. Without it: clean.")
    ] = None,
    intensity: Annotated[
        list[float] | None, typer.Option(min=0, help="Training intensity [default: 1]. Repeats: mixed in equal parts.")
    ] = None,
    target: Annotated[int, typer.Option(min=0, help="The class that triggered images get.")] = 0,
    source: Annotated[list[int] | None, typer.Option(min=0, help="Fire on images of this class only. Repeats.")] = None,
    rate: Annotated[float, typer.Option(min=0, max=1, help="Poison rate, a share of the training set.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    threads: Threads = 1,
    device: TrainOn = Device.cpu,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo import data as data_sets
        from bdscan.zoo.settings import RECIPES, Settings
        from bdscan.zoo.train import save
        from bdscan.zoo.train import train as train_model

        if network not in RECIPES:
            raise UsageError(f"--network: no network {network!r}; choose one of {', '.join(RECIPES)}")
        images = data_sets.load(dataset, data)
        settings = Settings(
            name=out.name,
            data=dataset,
            network=network,
            attack=_attack(attack, target, tuple(source or ()), len(images.classes)),
            rate=rate,
            intensity=tuple(intensity or (1.0,)),
            seed=seed,
            recipe=RECIPES[network],
        )
        trained = train_model(settings, images, threads, device.value)
        save(trained, out)
        note(f"wrote {out}: clean accuracy {trained.card['clean_accuracy']}")


@app.command("plan", help=PLAN_HELP)
def plan(
    name: Annotated[str, typer.Argument(help="The plan.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    data: DataDir = None,
    threads: Threads = 1,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only models whose name contains this.")] = "",
    executor: Engine = Executor.local,
    ray_address: RayAddress = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Models at a time, on Ray.")] = 1,
    device: TrainOn = Device.cpu,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        if executor is Executor.ray:
            if device is not Device.cpu:
                raise UsageError("--device is for training here; jobs on Ray train on CPUs")
            from bdscan.zoo.plan_on_ray import run_plan_on_ray

            on_ray: dict[str, Any] = {"address": ray_address, "jobs": jobs, "threads": threads, "only": only}
            run_plan_on_ray(name, out, data, **on_ray, note=note)
            return
        if ray_address is not None or jobs > 1:
            raise UsageError("--ray-address and --jobs are for --executor ray; add it")
        from bdscan.zoo.plan import run_plan

        run_plan(name, out, data, threads=threads, only=only, device=device.value, note=note)


@app.command("scan-table", help=SCAN_TABLE_HELP)
def scan_table(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Networks.", show_default=False)],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The table as Markdown.")] = None,
    budget: Annotated[Budget, typer.Option(help="How much work each scan may do.")] = Budget.standard,
    seed: Annotated[int, typer.Option(min=0, help="Draws the clean images, and seeds the scans.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only networks whose name contains this.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Keep the rows that OUT has.")] = False,
    compare: Annotated[
        bool, typer.Option(help="Compare recovered triggers with the true ones; loads each network without isolation.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.record import shown_command
        from bdscan.zoo.scan_table import run

        words: list[object] = ["bdscan zoo scan-table", *folders, "--data", data, "--budget", budget, "--seed", seed]
        words += ["--threads", threads, *(["--only", only] if only else []), *(["--compare"] if compare else [])]
        table = run(
            folders,
            data,
            out,
            markdown,
            command=shown_command(words),
            budget=budget.value,
            seed=seed,
            threads=threads,
            only=only,
            resume=resume,
            compare=compare,
            note=note,
        )
        found = table["summary"]
        alarms = f"alarms on {found['clean_alarms']} of {found['clean']} clean"
        note(f"right: {found['right']} of {found['networks']}; {alarms}")


@app.command("repair-table", help=REPAIR_TABLE_HELP)
def repair_table(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Networks.", show_default=False)],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The table as Markdown.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repairs of each network, a seed each.")] = 3,
    threads: Threads = 2,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only networks whose name contains this.")] = "",
    per_class: Annotated[int, typer.Option(min=2, help="Clean images a class that each repair is given.")] = 10,
    weaknesses: Annotated[
        bool, typer.Option("--weaknesses", help="Clean networks too: their natural weaknesses are unlearned.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the rows that OUT has.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.record import shown_command
        from bdscan.zoo.repair_table import run

        words: list[object] = ["bdscan zoo repair-table", *folders, "--data", data, "--seeds", seeds]
        words += ["--threads", threads, *(["--only", only] if only else [])]
        words += [*(["--per-class", per_class] if per_class != 10 else []), *(["--weaknesses"] if weaknesses else [])]
        command = shown_command(words)
        options: dict[str, Any] = {"seeds": seeds, "threads": threads, "only": only, "resume": resume}
        run(
            folders,
            data,
            out,
            markdown,
            command=command,
            note=note,
            weaknesses=weaknesses,
            per_class=per_class,
            **options,
        )


@app.command("benchmark", help=BENCHMARK_HELP)
def benchmark(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one .npz a data set.", show_default=False)],
    models: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of trained networks.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The results as JSON.", show_default=False)],
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The results as Markdown.")] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="help, mnist, gtsrb, resnet18 or imagenet1000. Repeats. Without it: all."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the clean images, and seeds the scans.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of both.")] = 2,
    device: Annotated[Device, typer.Option(help="Where the scan and the published schedule compute.")] = Device.cpu,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
) -> None:
    with guarded(debug):
        from bdscan.zoo.benchmark import PARTS, run
        from bdscan.zoo.record import shown_command

        words: list[object] = ["bdscan zoo benchmark", "--data", data, "--models", models, "--seed", seed]
        words += ["--threads", threads, "--device", device]
        run(
            tuple(part or PARTS),
            data,
            models,
            out,
            markdown,
            command=shown_command(words),
            seed=seed,
            threads=threads,
            device=device.value,
            note=note,
        )


app.command("data", help=zoo_data.HELP)(zoo_data.data)
app.command("full-schedule", help=zoo_full_schedule.HELP)(zoo_full_schedule.full_schedule)
app.command("enhanced-table", help=zoo_enhanced.HELP)(zoo_enhanced.enhanced_table)
app.command("branch-table", help=zoo_branches.HELP)(zoo_branches.branch_table)
app.command("survey", help=zoo_survey.HELP)(zoo_survey.survey)
app.command("calibrate", help=zoo_survey.CALIBRATE_HELP)(zoo_survey.calibrate)
app.command("titim", help=zoo_titim.HELP)(zoo_titim.titim)
app.command("p4-tables", help=zoo_p4.HELP)(zoo_p4.p4_tables)
app.command("evaluate", help=zoo_survey.EVALUATE_HELP)(zoo_survey.evaluate)


def _attack(given: str | None, target: int, sources: tuple[int, ...], classes: int) -> Attack | None:
    """The attack by its name, or by the JSON object that a card holds.

    An attack with sources of its own gets those given; any other one becomes source-specific.
    """
    import json
    from dataclasses import fields

    from bdscan.zoo.attacks import ATTACKS, from_spec

    if given is None:
        return None
    for option, label in (("--target", target), *(("--source", one) for one in sources)):
        if label >= classes:
            raise UsageError(f"{option} {label}: the classes are 0 to {classes - 1}")
    spec: dict[str, Any] = {"attack": given, "target": target}
    if given.startswith("{"):
        try:
            spec = json.loads(given)
        except ValueError as error:
            raise UsageError(f"--attack: not a JSON object ({error})") from None
    kind = ATTACKS.get(str(spec.get("attack")))
    known = {field.name for field in fields(kind)} if kind else set()
    if "target" in known:
        spec.setdefault("target", target)
    if sources and "sources" not in known:
        spec, known = {"attack": "source-specific", "trigger": spec, "target": target}, {"sources", "classes"}
    if sources:
        spec["sources"] = list(sources)
    if "classes" in known:
        spec.setdefault("classes", classes)
    return from_spec(spec)
