"""Where rules and templates are: in the installed package if they were packaged, else in the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

Resource = Literal["rules", "templates"]

PACKAGE: Final = Path(__file__).resolve().parent
IN_CHECKOUT: Final[dict[Resource, str]] = {"rules": "rules", "templates": "reports/templates"}


def resource(name: Resource, package: Path = PACKAGE) -> Path:
    """The folder called `name`, seen from the folder of the package. `FileNotFoundError` where neither place has it."""
    packaged = package / name
    checkout = package.parent.parent / IN_CHECKOUT[name]
    for place in (packaged, checkout):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"bdscan's {name} are missing: neither {packaged} nor {checkout} exists; install it again")
