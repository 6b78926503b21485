"""How many bytes a worker may write: a scan next to none, a repair or a profile copies of the model."""

from __future__ import annotations

from typing import Final

from bdscan.saved import read_report
from bdscan.settings import ProfileSettings, RepairSettings, Settings

MIB: Final = 2**20
LARGEST_FILE: Final = 256 * MIB
SPARE: Final = 16 * MIB  # alignment, zip overhead
FOLDER: Final = 2**30  # what a GPU's library may keep there by default; a scan itself writes nothing
COPIES: Final = 6  # at a time: a graph that was cut, what it was cut to, the result, and that under its rejected name


def model_bytes(settings: Settings) -> int:
    """Of the model and its weights files, by the report that a repair or a profile starts from; 0 for a scan.

    UsageError where that report cannot be read.
    """
    if not isinstance(settings, RepairSettings | ProfileSettings):
        return 0
    files = read_report(settings.report, "--report").subject.files
    return sum(file.bytes for file in files if file.role in ("model", "sidecar"))


def largest_file(model: int) -> int:
    """For a model of so many bytes; a guarded one may hold half-precision weights as whole ones."""
    return max(LARGEST_FILE, 2 * model + SPARE)


def folder_bytes(model: int) -> int:
    return FOLDER + COPIES * model
