"""The published schema of a repair's account: `python -m bdscan.repair.schema > docs/repair.schema.json`."""

from __future__ import annotations

import sys

from bdscan.formats.schema import render_schema
from bdscan.repair.outcome import Repair

if __name__ == "__main__":
    sys.stdout.write(render_schema(Repair))
