"""A trigger given as a file is profiled as it is: pictures with transparency, patterns with masks; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import planted_report
import pytest
import torch
from PIL import Image

from bdscan import api
from bdscan.errors import UsageError
from bdscan.mitigate.given import given_trigger
from bdscan.mitigate.run import run
from bdscan.settings import ProfileSettings

GREY = torch.full((2, 3, 4, 5), 0.5)
SHAPE = (3, 4, 5)


def saved(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_a_picture_covers_by_its_transparency(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5, 4), dtype=np.uint8)
    pixels[1, 2] = (255, 0, 51, 255)
    pixels[3, 4] = (255, 255, 255, 51)
    Image.fromarray(pixels).save(tmp_path / "sticker.png")
    trigger = given_trigger(str(tmp_path / "sticker.png"), 1, (2,), SHAPE, 3)
    out = trigger.stamp(GREY, 1.0)
    assert out[0, :, 1, 2].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert out[1, :, 3, 4].tolist() == pytest.approx([0.6] * 3)
    assert torch.equal(out[:, :, 0], GREY[:, :, 0])
    assert float(trigger.stamp(GREY, 0.5)[0, 0, 1, 2]) == pytest.approx(0.75)
    assert (trigger.target, trigger.sources) == (1, (2,))


def test_arrays_come_with_channels_first_or_last_as_bytes_or_shares(tmp_path: Path) -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[0, 0] = True
    for number, pattern in enumerate((np.full((4, 5, 3), 255, dtype=np.uint8), np.ones(SHAPE), np.ones((4, 5)))):
        path = saved(tmp_path / f"{number}.npz", pattern=pattern, mask=mask)
        out = given_trigger(path, 0, (), SHAPE, 3).stamp(GREY, 1.0)
        assert out[0, :, 0, 0].tolist() == [1.0] * 3
        assert float((out != GREY).float().mean()) == pytest.approx(1 / 20)
    added = given_trigger(saved(tmp_path / "a.npz", additive=np.full(SHAPE, 0.25)), 0, (), SHAPE, 3)
    assert float(added.stamp(GREY, 4.0).max()) == 1.0
    assert float(added.stamp(GREY, 1.0).min()) == 0.75


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pattern": np.ones((4, 4))}, "is of 1x4x4; the model's images are 5x4"),
        ({"pattern": np.ones((2, 4, 5))}, "2 channels"),
        ({"pattern": np.ones((4, 5)), "mask": np.ones((5, 4))}, "mask is of 5x4"),
        ({"pattern": np.full((4, 5), 3.0)}, "values beyond"),
        ({"pattern": np.full((4, 5), -0.5)}, "values below 0"),
        ({"pattern": np.full((4, 5), np.nan)}, "values beyond"),
        ({"patern": np.ones((4, 5))}, "needs an array `pattern`"),
        ({"pattern": np.array([{}], dtype=object)}, "not a picture and not an .npz"),
    ],
)
def test_what_cannot_be_a_trigger_is_refused_in_one_line(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        given_trigger(saved(tmp_path / "t.npz", **arrays), 0, (), SHAPE, 3)
    assert "\n" not in str(caught.value)


def test_other_files_and_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    (tmp_path / "no.npz").write_bytes(b"no archive")
    for name in ("no.png", "no.npz"):
        with pytest.raises(UsageError, match="not a picture"):
            given_trigger(str(tmp_path / name), 0, (), SHAPE, 3)
    with pytest.raises(UsageError, match="no class 3; give 0 to 2"):
        given_trigger(saved(tmp_path / "t.npz", pattern=np.ones((4, 5))), 3, (), SHAPE, 3)


def test_the_true_trigger_of_a_fixture_is_profiled_before_the_recovered_one(tmp_path: Path) -> None:
    """The network's own square, given as a file, works as the attacker's does."""
    chosen, report = planted_report.badnets()
    (tmp_path / "report.json").write_text(report.model_dump_json())
    change = planted_report.patch()[0].numpy()
    given = saved(tmp_path / "t.npz", pattern=(change > 0).astype(np.uint8), mask=change != 0)
    own = {"report": str(tmp_path / "report.json"), "trigger": given, "target": 8, "budget": "quick"}
    wish = {**chosen.model_dump(), **own}
    profile = run(ProfileSettings.model_validate(wish), str(tmp_path), lambda stage, share: None)
    assert [each.family for each in profile.triggers] == ["given", "sparse"]
    assert profile.triggers[0].success.value > 0.95
    assert profile.settings["trigger"] == given
    with pytest.raises(UsageError, match="give both"):
        api.profile(ProfileSettings.model_validate({**wish, "target": None}))
    with pytest.raises(UsageError, match="--source: it is for a trigger of your own"):
        api.profile(ProfileSettings.model_validate({**wish, "trigger": None, "target": None, "sources": (1,)}))
