"""APD and FIR by their definitions, on a backdoored fixture whose trigger is known; P4's figures as printed."""

from __future__ import annotations

from pathlib import Path

import model_folders
import numpy as np
import pytest
import torch

from bdscan.detectors.interface import Hints
from bdscan.intake.load import load
from bdscan.zoo import ablation, fidelity, paper_figures
from bdscan.zoo.clean_images import from_test_split
from bdscan.zoo.fidelity import compare, scan_settings
from bdscan.zoo.known_trigger import known_triggers
from bdscan.zoo.model_folder import read


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory):
    scratch = tmp_path_factory.mktemp("fidelity")
    model = read(model_folders.write(scratch / "badnets", "badnets"))
    clean = from_test_split("digits", scratch, 0)
    clean.write_drawn(scratch / "samples.npz")
    arch = model.arch(scratch)
    scannable = load(scan_settings(model.weights, scratch / "samples.npz", arch, "quick", 0, 1)).scannable
    x, y = clean.others(200, 0)
    (known,) = known_triggers(model)
    return scannable, torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(y), known


def test_the_true_trigger_is_faithful_to_itself(subject) -> None:
    scannable, x, y, known = subject
    same = compare(scannable.classifier, x, y, known, "sparse", known.stamp)
    assert same.apd == 0
    assert same.asr == same.true_asr > 0.95
    assert same.fir >= same.asr
    assert same.n == int(((scannable.classifier.predict(x).argmax(1) == y) & (y != known.target)).sum())


def test_no_trigger_scores_what_unstamped_says(subject) -> None:
    scannable, x, y, known = subject
    nothing = compare(scannable.classifier, x, y, known, "sparse", lambda images: images)
    assert (nothing.fir, nothing.asr) == (0, 0)
    assert nothing.apd == pytest.approx(nothing.apd_unstamped)
    rows = (y != known.target) & (scannable.classifier.predict(x).argmax(1) == y)
    by_hand = np.abs((known.stamp(x[rows]) - x[rows]).numpy()).sum() / (int(rows.sum()) * 256)
    assert nothing.apd == pytest.approx(by_hand, rel=1e-4)


def test_fir_counts_any_misclassification_and_asr_the_target(subject) -> None:
    scannable, x, y, known = subject
    black = compare(scannable.classifier, x, y, known, "tone", lambda images: torch.zeros_like(images))
    answer = int(scannable.classifier.predict(torch.zeros(1, 1, 16, 16)).argmax())
    rows = (y != known.target) & (scannable.classifier.predict(x).argmax(1) == y)
    assert black.fir == pytest.approx(float((y[rows] != answer).float().mean()))
    assert black.asr == float(answer == known.target)


def test_images_that_the_attack_does_not_aim_at_are_refused(subject) -> None:
    scannable, x, y, known = subject
    own = y == known.target
    with pytest.raises(ValueError, match="no clean image"):
        compare(scannable.classifier, x[own], y[own], known, "sparse", known.stamp)


def test_what_is_inverted_in_process_stamps_towards_its_target(subject) -> None:
    scannable, x, y, known = subject
    budget = fidelity.Budget("quick", 0)
    found = fidelity.inverted(fidelity.SPARSE, scannable, Hints(), budget)
    assert known.target in found
    row = compare(scannable.classifier, x, y, known, "sparse", found[known.target])
    assert row.asr > 0.5
    assert fidelity.inverted(fidelity.DMS, scannable, Hints(), budget) == {}  # no mask, nothing


def test_p4_s_metrics_by_class() -> None:
    one = ablation.detection({8, 3}, {8}, 10)
    assert (one.flagged, one.acc, one.tpr) == ((3, 8), 0.9, 1.0)
    missed = ablation.detection({3}, {8, 1}, 10)
    assert (missed.acc, missed.tpr) == (0.7, 0.0)
    assert ablation.detection(set(), set(), 10) == ablation.Detection((), 1.0, None)


def test_columns_take_the_higher_cluster() -> None:
    table = np.full((6, 6), 0.1)
    table[:, 2] = 0.9
    table[:, 4] = 0.8
    assert ablation.columns_by_kmeans(table) == {2, 4}
    assert ablation.columns_by_kmeans(np.zeros((6, 6))) == set()


def test_both_ways_are_compared(subject) -> None:
    scannable, _, _, known = subject
    found = ablation.compare(scannable, torch.ones(1, 16, 16), (known.target,), "quick")
    assert found["steps"] == found["dms_steps"]
    assert set(ablation.compare(scannable, None, (known.target,), "quick")) == {"steps"}


def test_the_figures_are_the_paper_s(shared_dir: Path) -> None:
    (paper,) = [path.read_text() for path in (shared_dir / "papers").glob("P4*.txt")]
    plain = paper.replace("<b>", "").replace("</b>", "").replace("&amp;", "&")

    def cells(row: str, table: str) -> list[str]:
        line = next(line for line in plain.split(table)[1].splitlines() if line.startswith(row + "\t"))
        return line.split("\t")[1:]

    keys = [("mnist", "badnets"), ("mnist", "sig"), ("mnist", "multi"), ("gtsrb", "badnets"), ("gtsrb", "sig")]
    fir, apd = cells("DMS-Steps", "TABLE IV"), cells("DMS-Steps", "TABLE V  \n")
    assert [paper_figures.FIR[key] for key in keys] == [float(cell) for cell in fir[:5]]
    assert [paper_figures.APD[key] for key in keys] == [float(cell) for cell in apd[:5]]
    for name, figures in (("Steps", paper_figures.STEPS), ("DMS-Steps", paper_figures.DMS_STEPS)):
        pairs = [tuple(float(v) for v in cell.split("&")) for cell in cells(name, "TABLE II ")[:5]]
        assert [figures[key] for key in keys] == pairs
    for data in ("MNIST", "GTSRB"):
        assert paper_figures.SECONDS[data.lower()] == tuple(float(v) for v in cells(data, "TABLE VI")[3:5])
