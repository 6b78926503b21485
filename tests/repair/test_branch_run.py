"""A whole repair of the fixture whose trigger lives in the graph, and of one with a trigger in the weights besides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from bdscan import pipeline
from bdscan.cli.repair import show
from bdscan.errors import CannotJudge, UsageError
from bdscan.formats.repair_html import render
from bdscan.intake.load import load
from bdscan.onnx import suspicious_branches
from bdscan.onnx.graph import read_model
from bdscan.repair import mend as mending
from bdscan.repair.mend import mend, still_working
from bdscan.repair.outcome import Repair
from bdscan.repair.planted import BRANCH, Planted, planted
from bdscan.repair.rounds import Plan
from bdscan.repair.run import run
from bdscan.repair.unlearn import Recipe
from bdscan.report import Report, Verdict
from bdscan.settings import RepairSettings, Settings
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.trigger_branch import add_branch

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL, SAMPLES = FIXTURES / "trigger-branch.onnx", FIXTURES / "samples.npz"
PATCH, STRIPES = BadNets(target=2), Sig(target=3)  # fixtures/build.py


def quiet(stage: str, share: float) -> None:
    pass


def graph_check(model: Path) -> Report:
    """A report that knows of the branch alone."""
    return pipeline.run(Settings(model=str(model), samples=str(SAMPLES), detectors=("graph",)), quiet)


def wanted(model: Path, report: Report, folder: Path) -> RepairSettings:
    saved = folder / "report.json"
    saved.write_text(report.model_dump_json())
    return RepairSettings(model=str(model), samples=str(SAMPLES), report=str(saved), name="new.onnx", budget="quick")


def answers(model: Path, images: np.ndarray) -> np.ndarray:
    """onnxruntime's logits for images (N, H, W, C) uint8."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    x = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def success(model: Path, attack: BadNets | Sig, target: int) -> float:
    """The true trigger's, as onnxruntime answers."""
    with np.load(SAMPLES) as file:
        images, labels = file["x"][file["y"] != target], file["y"][file["y"] != target]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    stamped = (attack.apply(x, 1.0, np.random.default_rng(0)) * 255).round().permute(0, 2, 3, 1).numpy()
    assert len(labels) == 90
    return float((answers(model, stamped.astype(np.uint8)).argmax(1) == target).mean())


@pytest.fixture(scope="module")
def found() -> Report:
    return graph_check(MODEL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repaired")


@pytest.fixture(scope="module")
def repaired(found: Report, folder: Path) -> Repair:
    return run(wanted(MODEL, found, folder), str(folder), quiet)


def test_the_fixture_is_cut_and_scanned_clean(found: Report, repaired: Repair, folder: Path) -> None:
    assert [finding.rule for finding in found.findings] == [BRANCH]
    assert (repaired.outcome, repaired.after.verdict) == ("repaired", Verdict.CLEAN), repaired.reasons
    assert repaired.cut is not None
    (switch,) = repaired.cut.switches
    assert (switch.value, switch.made_by, switch.used_by, switch.constant) == ("patch_hit", "Less", ("Where",), "false")
    assert (repaired.cut.removed, repaired.cut.images) == (7, 100)
    assert (repaired.rounds, repaired.triggers, repaired.relearn) == ((), (), None)
    assert repaired.accuracy.lost == repaired.accuracy.gained == 0
    assert Repair.model_validate_json(repaired.model_dump_json()) == repaired
    assert "cut" in repaired.summary
    new = folder / "new.onnx"
    assert sorted(path.name for path in folder.iterdir()) == ["new.onnx", "report.json"]
    assert success(MODEL, PATCH, 2) == 1.0
    assert success(new, PATCH, 2) < 0.1
    with np.load(SAMPLES) as file:
        assert np.array_equal(answers(new, file["x"]), answers(MODEL, file["x"]))
    assert not [name for node in onnx.load(new).graph.node for name in node.input if name.startswith("patch")]


def test_page_and_terminal_show_the_cut(repaired: Repair, capsys: pytest.CaptureFixture[str]) -> None:
    html = render(repaired)
    for said in ("Cut branches", "patch_hit (Less, switches Where)", "always false", "On all 100 clean images"):
        assert said in html, said
    assert "Rounds of unlearning" not in html
    assert "unlearned with clean images" not in html
    show(repaired)
    out = capsys.readouterr().out
    assert "patch_hit" in out
    assert "always false" in out


def test_a_branch_and_a_trigger_in_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut first; then what still works is unlearned, and a trigger that lived in the branch is not."""
    truth = PATCH.truth((1, 16, 16))
    both = tmp_path / "both.onnx"
    onnx.save(add_branch(onnx.load(FIXTURES / "sig.onnx"), truth["pattern"], truth["mask"], 2), both)
    report = graph_check(both)
    settings = wanted(both, report, tmp_path)
    rng = np.random.default_rng(0)
    triggers = (
        Planted(2, (), "sparse", lambda x, share: PATCH.apply(x, share, rng)),
        Planted(3, (), "dense", lambda x, share: STRIPES.apply(x, share, rng)),
    )
    monkeypatch.setattr(mending, "Plan", lambda: Plan(searches=0, most=1, recipe=Recipe(steps=80)))
    subject = load(settings.scan).scannable
    assert still_working(subject, triggers) == triggers
    new = tmp_path / "new.onnx"
    result = mend(subject, report, triggers, settings, new, quiet)
    assert result.cut is not None
    assert result.cut.switches[0].value == "patch_hit"
    assert result.triggers == triggers[1:]
    assert len(result.rounds) == 1
    assert suspicious_branches(read_model(new)) == []
    assert success(both, PATCH, 2) == 1.0
    assert success(new, PATCH, 2) < 0.2
    assert success(both, STRIPES, 3) > 0.9
    assert success(new, STRIPES, 3) < 0.2


def test_a_branch_that_clean_images_take_both_ways_is_refused(tmp_path: Path) -> None:
    """The patch is the whole first image."""
    with np.load(SAMPLES) as file:
        first = file["x"][0].transpose(2, 0, 1).astype(np.float32) / 255
    old = tmp_path / "old.onnx"
    mask = np.ones((16, 16), np.float32)
    onnx.save(add_branch(onnx.load(FIXTURES / "sig.onnx"), first, mask, 0), old)
    settings = wanted(old, graph_check(old), tmp_path)
    with pytest.raises(CannotJudge, match="cannot be cut: clean images take both sides of Less 'patch_hit'") as error:
        run(settings, str(tmp_path), quiet)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.onnx", "report.json"]


def test_a_branch_is_no_trigger_and_a_finding_about_neither_is_refused(found: Report) -> None:
    assert planted(found) == ()
    other = found.findings[0].model_copy(update={"rule": "OWN1", "title": "Something else"})
    with pytest.raises(UsageError, match="'Something else' names no trigger and no branch"):
        planted(found.model_copy(update={"findings": (*found.findings, other)}))


def test_a_report_of_a_branch_cannot_be_used_for_weights(found: Report, tmp_path: Path) -> None:
    """A forged report: the digest is right, the finding is not."""
    model = FIXTURES / "sig.onnx"
    real = graph_check(model)
    forged = real.model_copy(update={"findings": found.findings})
    with pytest.raises(CannotJudge, match="finds none in this file"):
        run(wanted(model, forged, tmp_path), str(tmp_path), quiet)
