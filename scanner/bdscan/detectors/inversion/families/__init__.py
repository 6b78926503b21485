"""The trigger families by name. A new one is one file and one line here."""

from __future__ import annotations

from bdscan.detectors.inversion.families import dense, lit, sparse, tone, warp, wave
from bdscan.detectors.inversion.families.interface import Family

FAMILIES: dict[str, Family] = {
    f.name: f for f in (sparse.FAMILY, dense.FAMILY, warp.FAMILY, tone.FAMILY, wave.FAMILY, *lit.FAMILIES)
}
