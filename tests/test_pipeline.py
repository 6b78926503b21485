"""The story of a scan on tiny trained networks: stages, verdicts, failures, and the same report twice."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from bdscan import pipeline, report, stages
from bdscan.detectors import confirmation, registry
from bdscan.detectors.interface import CouldNotRun, Measurement
from bdscan.errors import UsageError
from bdscan.few_classes import COMPARABLE
from bdscan.formats.schema import schema
from bdscan.formats.story import significance
from bdscan.report import Report, Verdict
from bdscan.resources import resource
from bdscan.rules import load_rules
from bdscan.settings import Settings

NAMES = [about.name for about in registry.ABOUTS]
CHEAP = ("graph", "last_layer", "steps", "margin")


def scan(folder: Path, file: str = "badnets.pth.tar", progress=None, **options: object) -> Report:
    arch = {".tar": "digits_bn", ".pt": "digits_cnn"}.get(Path(file).suffix)
    settings = Settings.model_validate(
        {
            "model": str(folder / file),
            "samples": str(folder / "samples.npz"),
            "arch": arch and f"{folder / 'arch.py'}:{arch}",
            "budget": "quick",
        }
        | options
    )
    return pipeline.run(settings, progress or (lambda stage, share: None))


def outcomes(result: Report) -> dict[str, str]:
    return {stage.name: stage.outcome for stage in result.stages}


@pytest.fixture
def cheap_families(monkeypatch) -> None:
    """Every stage that a clean verdict needs runs, in a fraction of the quick budget."""
    from bdscan.detectors.inversion import pairs, universal

    for module in (universal, pairs):
        monkeypatch.setattr(module, "FIRST", {"quick": (16, 2)})
        monkeypatch.setattr(module, "SECOND", {"quick": (4, 2)})
    monkeypatch.setattr(confirmation, "ROUNDS", {"quick": (8, 4)})


def test_with_steps_alone_the_verdict_is_inconclusive_and_all_other_stages_show_as_skipped(fixtures_dir: Path) -> None:
    result = scan(fixtures_dir, detectors=("steps",))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert list(outcomes(result)) == NAMES
    assert {name for name, outcome in outcomes(result).items() if outcome == "measured"} == {"steps"}
    assert all(outcome == "skipped" for name, outcome in outcomes(result).items() if name != "steps")
    assert all(any(line.startswith(f"{name}: ") for line in result.not_examined) for name in NAMES if name != "steps")
    assert "confirmation" in result.summary
    assert (result.score, result.p_value, result.findings) == (None, None, ())
    assert {s.detector for s in result.statistics} == {"steps"}


def test_where_nothing_was_searched_for_there_is_no_p_value(fixtures_dir: Path) -> None:
    result = scan(fixtures_dir, "sig.onnx", detectors=("graph",), budget="standard")
    assert result.score is not None
    assert result.p_value is None
    assert "could not be looked for here" in significance(result)


def test_a_report_is_valid_by_the_published_schema_and_reads_back(fixtures_dir: Path) -> None:
    result = scan(fixtures_dir, detectors=(*CHEAP, "inversion.sparse"))
    text = result.model_dump_json()
    jsonschema.validate(json.loads(text), schema())
    assert Report.model_validate_json(text) == result
    assert outcomes(result)["inversion.sparse"] == outcomes(result)["confirmation"] == "measured"
    assert outcomes(result)["graph"] == "skipped", "weights have no graph"


def test_two_runs_differ_in_run_only_and_another_seed_in_the_numbers_too(fixtures_dir: Path) -> None:
    first, again, other = (
        scan(fixtures_dir, detectors=(*CHEAP, "inversion.sparse"), seed=seed).model_dump(exclude={"run"})
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["statistics"] != other["statistics"]


def test_progress_is_told_of_every_stage_and_ends_at_one(fixtures_dir: Path) -> None:
    seen: dict[str, list[float]] = {}
    scan(fixtures_dir, detectors=("steps", "margin"), progress=lambda s, v: seen.setdefault(s, []).append(v))
    assert list(seen) == ["load", "steps", "margin", "confirmation"]
    for shares in seen.values():
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_quick_silence_says_what_it_is(fixtures_dir: Path) -> None:
    quick, standard = (scan(fixtures_dir, detectors=("steps",), budget=budget) for budget in ("quick", "standard"))
    assert stages.QUICK in quick.not_examined
    assert stages.QUICK not in standard.not_examined


def test_a_p_value_is_told_as_a_count(fixtures_dir: Path) -> None:
    one = scan(fixtures_dir, detectors=("steps",))
    calibration = one.calibration.model_copy(update={"references": 101})
    told = significance(one.model_copy(update={"p_value": 4 / 102, "score": 1.0, "calibration": calibration}))
    assert told == "p = 0.0392: 3 of 101 clean reference models look at least this suspicious"


def test_a_branch_in_the_graph_is_found_whatever_else_ran(fixtures_dir: Path) -> None:
    result = scan(fixtures_dir, "trigger-branch.onnx", detectors=("graph",))
    assert result.verdict is Verdict.SUSPICIOUS
    (one,) = result.findings
    assert not one.weakness
    assert result.summary == one.message


def test_everything_that_clean_needs_can_run(fixtures_dir: Path, tmp_path: Path, cheap_families) -> None:
    """No alarm is possible without rules, so what is left is whether all have looked."""
    result = scan(fixtures_dir, "clean-0.pt", rules=(no_rules(tmp_path),))
    assert result.verdict is Verdict.CLEAN
    assert {n for n, o in outcomes(result).items() if o != "measured"} == {"graph", "inversion.wave"}, (
        "no graph, and tiny images"
    )


@pytest.mark.parametrize("classes", [2, COMPARABLE - 1, COMPARABLE])
def test_samples_of_a_few_classes_are_too_few_to_compare_them_and_the_report_says_so(
    fixtures_dir: Path, tmp_path: Path, cheap_families, classes: int
) -> None:
    """Below five classes no trigger is an alarm, and nothing is called clean."""
    with np.load(fixtures_dir / "samples.npz") as data:
        use = np.isin(data["y"], (3, 1, 4, 7, 9)[:classes])
        np.savez(tmp_path / "few.npz", x=data["x"][use], y=data["y"][use])
    result = scan(fixtures_dir, samples=str(tmp_path / "few.npz"))
    few = classes < COMPARABLE
    assert ("comparison" in result.lacking) == few
    assert ("comparison" in outcomes(result)) == few
    if few:
        assert result.verdict is Verdict.INCONCLUSIVE
        assert all(finding.weakness for finding in result.findings)
        assert "comparison" in result.summary
        assert result.p_value is None
        assert all(one.p_value is None for one in result.statistics)
        assert significance(result) == "no p-value: the samples are of too few classes"
        assert any(f"the samples are of {classes} classes" in line for line in result.not_examined)


def no_rules(to: Path) -> str:
    """All shipped rules, disabled."""
    text = "version = 1\n"
    for rule in load_rules(resource("rules")):
        text += f'[[rule]]\nid = "{rule.id}"\ntitle = "t"\nseverity = "low"\nabout = "trigger"\n'
        text += 'when = []\nmessage = "m"\nremedy = "r"\nenabled = false\n'
    (to / "off.toml").write_text(text)
    return str(to / "off.toml")


@pytest.mark.parametrize("name", NAMES)
def test_a_needed_detector_that_raises_is_a_failed_stage_and_never_a_clean_verdict(
    fixtures_dir: Path, tmp_path: Path, cheap_families, monkeypatch, name: str
) -> None:
    def fail(*_, **__):
        raise RuntimeError("out of\nluck")

    if name == "confirmation":
        monkeypatch.setattr(confirmation, "try_out", fail)
    else:
        broken = [Raising(d.about, fail) if d.about.name == name else d for d in registry.DETECTORS]
        monkeypatch.setattr(registry, "DETECTORS", tuple(broken))
        monkeypatch.setattr(pipeline, "DETECTORS", tuple(broken))
    result = scan(fixtures_dir, "clean-0.pt", rules=(no_rules(tmp_path),))
    stage = next(s for s in result.stages if s.name == name)
    assert isinstance(stage, report.Failed)
    assert stage.error == "RuntimeError: out of luck"
    assert result.verdict is Verdict.INCONCLUSIVE
    assert name in result.summary
    assert f"{name} failed: RuntimeError: out of luck" in result.not_examined
    assert sum(outcome == "measured" for outcome in outcomes(result).values()) > 5, "the others went on"


class Raising:
    def __init__(self, about, run) -> None:
        self.about, self.run = about, run


@pytest.mark.parametrize("graph", [True, False])
def test_the_graph_check_is_needed_where_there_is_a_graph(graph: bool) -> None:
    ran = [report.Measured(name=name) for name in stages.NEEDED]
    story = stages.Story(stages=[*ran, report.Skipped(name="graph", reason="r")])
    assert stages.not_looked(story, stages.NEEDED, graph) == (["graph"] if graph else [])


def test_could_not_run_is_skipped_with_its_reason() -> None:
    story = stages.Story()
    detector = Raising(registry.ABOUTS[0], lambda *_: CouldNotRun("no gradients"))
    stages.run_stage(story, detector, None, None, lambda stage, share: None)
    assert story.stages == [report.Skipped(name=registry.ABOUTS[0].name, reason="no gradients")]
    assert story.measured == {}


def test_hints_rank_labels_by_trusted_scores_and_ignore_the_untrusted() -> None:
    trusted = max(registry.TRUST, key=registry.TRUST.__getitem__)
    story = stages.Story(
        measured={
            "inversion.tone.unknown": Measurement((), scores={0: 100.0}),
            trusted: Measurement((), scores={1: 5.0, 2: 1.0, 3: 1.0}),
        }
    )
    assert story.hints().ranking == (1, 2, 3, 0)
    assert stages.Story().hints().ranking == ()


def test_an_unknown_detector_is_a_usage_error(fixtures_dir: Path) -> None:
    with pytest.raises(UsageError, match="--detectors: unknown detector 'magic'"):
        scan(fixtures_dir, detectors=("magic",))


def test_inversion_names_all_of_its_kind() -> None:
    assert {d.about.name for d in registry.chosen(("inversion",))} == {n for n in NAMES if n.startswith("inversion.")}
    assert registry.chosen(()) == registry.DETECTORS
    assert [d.about.name for d in registry.chosen(("steps", "graph"))] == ["graph", "steps"]


def test_every_detector_describes_itself() -> None:
    assert len(NAMES) == len(set(NAMES))
    for about in registry.ABOUTS:
        assert all((about.title, about.needs, about.finds, about.misses, about.source)), about.name
    assert set(registry.TRUST) <= set(NAMES)
    assert set(stages.NEEDED) <= set(NAMES)
