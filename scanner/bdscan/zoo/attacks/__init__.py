"""The attacks by name, and their way into and out of a card. A new attack is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bdscan.errors import UsageError
from bdscan.zoo.attacks.all_to_all import AllToAll
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.attacks.blended import Blended
from bdscan.zoo.attacks.bpp import Bpp
from bdscan.zoo.attacks.cassock import Cassock
from bdscan.zoo.attacks.clean_label import CleanLabel
from bdscan.zoo.attacks.compress import Compress
from bdscan.zoo.attacks.enhanced import Enhanced
from bdscan.zoo.attacks.hcb import Hcb
from bdscan.zoo.attacks.interface import Attack
from bdscan.zoo.attacks.multi import Multi
from bdscan.zoo.attacks.patch import Patch
from bdscan.zoo.attacks.sample_specific import SampleSpecific
from bdscan.zoo.attacks.semantic import Semantic
from bdscan.zoo.attacks.sig import Sig
from bdscan.zoo.attacks.source_specific import SourceSpecific
from bdscan.zoo.attacks.styled import Styled
from bdscan.zoo.attacks.warp import Warp

ATTACKS: Mapping[str, type[Attack]] = {
    "all-to-all": AllToAll,
    "badnets": BadNets,
    "blended": Blended,
    "bpp": Bpp,
    "cassock": Cassock,
    "clean-label": CleanLabel,
    "compress": Compress,
    "enhanced": Enhanced,
    "hcb": Hcb,
    "multi": Multi,
    "patch": Patch,
    "sample-specific": SampleSpecific,
    "semantic": Semantic,
    "sig": Sig,
    "source-specific": SourceSpecific,
    "styled": Styled,
    "warp": Warp,
}
__all__ = ["ATTACKS", "Attack", "from_spec", "to_spec"]

NAMES = {kind: name for name, kind in ATTACKS.items()}


def to_spec(attack: Attack) -> dict[str, Any]:
    """The attack as plain JSON values: its name under `attack`, and every field."""

    def plain(value: Any) -> Any:
        if isinstance(value, Attack):
            return to_spec(value)
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return {"attack": NAMES[type(attack)], **{f.name: plain(getattr(attack, f.name)) for f in fields(attack)}}


def from_spec(spec: Mapping[str, Any]) -> Attack:
    """The attack that `to_spec` wrote. Raises UsageError for an unknown name or field."""

    def rich(value: Any) -> Any:
        if isinstance(value, Mapping):
            return from_spec(value)
        return tuple(rich(item) for item in value) if isinstance(value, list) else value

    name = str(spec.get("attack"))
    if name not in ATTACKS:
        raise UsageError(f"unknown attack {name!r}: choose one of {', '.join(ATTACKS)}")
    try:
        return ATTACKS[name](**{key: rich(value) for key, value in spec.items() if key != "attack"})
    except TypeError as error:
        raise UsageError(f"attack {name}: {error}") from error
