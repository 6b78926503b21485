"""The repair command itself on a scanned network, in the worker and from file to file, as tables measure it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bdscan import api
from bdscan.repair.outcome import Repair
from bdscan.report import Report
from bdscan.settings import Settings
from bdscan.zoo.record import without_folders

Row = dict[str, Any]


def repaired(row: Row, settings: Settings, report: Report, scratch: Path, **options: object) -> tuple[Repair, Settings]:
    """Repair the network of `settings` by its report; `row` gets outcome, reasons, seconds, a scan between.

    Returns the account, and the settings that load the written file. Raises as `api.repair_to`.
    """
    saved, output = scratch / "report.json", scratch / f"repaired{Path(settings.model).suffix}"
    saved.write_text(report.model_dump_json())
    began = time.perf_counter()
    given = {**settings.model_dump(), "report": str(saved), "name": output.name, **options}
    repair, written = api.repair_to(api.make_repair_settings(**given), str(output))
    row["command_seconds"] = round(time.perf_counter() - began, 1)
    row["outcome"], row["reasons"] = repair.outcome, [without_folders(text) for text in repair.reasons]
    row["between"] = without_folders(repair.between.summary) if repair.between else None
    return repair, settings.model_copy(update={"model": written[0]})
