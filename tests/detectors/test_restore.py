"""A trigger read back from a report stamps exactly as the recovered candidate did; a damaged one is refused."""

from __future__ import annotations

import base64

import pytest
import torch

from bdscan.detectors.inversion import loop
from bdscan.detectors.inversion.families import FAMILIES
from bdscan.detectors.inversion.restore import stamp_from_parameters
from bdscan.detectors.inversion.trigger import Candidate
from bdscan.detectors.inversion.universal import candidate
from bdscan.detectors.pictures import trigger_parameters
from bdscan.errors import UsageError
from bdscan.report import Label, TriggerParameters

SHAPE = (3, 12, 10)


def recovered(family: str, masked: bool) -> Candidate:
    """Row 1 of two triggers, far enough from their start that they change something."""
    state = loop.begin(FAMILIES[family], 2, SHAPE, 3, torch.device("cpu"))
    draw = torch.Generator().manual_seed(5)
    for value in state.parameters.values():
        value += 0.3 * torch.randn(value.shape, generator=draw)
    mask = torch.rand(1, *SHAPE[1:], generator=draw) if masked else None
    return candidate(FAMILIES[family], state, 1, 4, {}, mask=mask)


def reported(found: Candidate) -> TriggerParameters:
    written = trigger_parameters(found, Label(index=4, name="four"), (), SHAPE)
    return TriggerParameters.model_validate_json(written.model_dump_json())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_restored_stamp_is_the_candidate_s(family: str, masked: bool) -> None:
    found = recovered(family, masked)
    restored = stamp_from_parameters(reported(found))
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    for intensity in (0.0, 0.5, 1.0):
        assert torch.equal(restored(x, intensity), found.stamp(x, intensity))
    assert not torch.allclose(restored(x, 1.0), x, atol=1e-3)


def with_array(trigger: TriggerParameters, name: str, text: str) -> TriggerParameters:
    return trigger.model_copy(update={"arrays": {**trigger.arrays, name: text}})


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.model_copy(update={"family": "magic"}), "unknown trigger family 'magic'"),
        (lambda t: t.model_copy(update={"image_shape": (3, 12, 11)}), "not those of a dense trigger"),
        (lambda t: t.model_copy(update={"arrays": {}}), "not those of a dense trigger"),
        (lambda t: with_array(t, "delta", "AAA"), "not base64"),
        (lambda t: with_array(t, "delta", "AAAA"), "3 bytes"),
        (lambda t: with_array(t, "delta", base64.b64encode(b"\0\0\xc0\x7f" * 360).decode()), "not finite"),
    ],
)
def test_damaged_parameters_are_refused(change, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stamp_from_parameters(change(reported(recovered("dense", False))))
