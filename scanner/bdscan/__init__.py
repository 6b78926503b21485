"""bdscan: scan an image classifier you did not train for planted backdoors.

The public names are imported lazily so that `bdscan --help` does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Report", "Verdict", "__version__", "scan"]

if TYPE_CHECKING:
    from bdscan.api import scan
    from bdscan.report import Report, Verdict


def __getattr__(name: str) -> Any:
    if name == "scan":
        from bdscan.api import scan

        return scan
    if name in {"Report", "Verdict"}:
        from bdscan import report

        return getattr(report, name)
    raise AttributeError(f"module 'bdscan' has no attribute {name!r}")
