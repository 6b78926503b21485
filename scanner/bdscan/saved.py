"""Saved reports: read with a bound, and checked against their model before anything is believed. No model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from bdscan.errors import UsageError
from bdscan.formats.text import shorten, visible
from bdscan.report import Report, Value

LARGEST: Final = 256 * 2**20  # bytes; four times what a worker may send of one report, for those that are indented
MOST_OF_A_NAME: Final = 120

Kind = TypeVar("Kind", bound=Value)


class Invalid(ValueError):
    """JSON that is not what it should be: one inert line that says where."""


class _Outcome(BaseModel):
    """What only the report of a repair has; all other keys are left alone."""

    outcome: str


class _Advice(BaseModel):
    """What only a profile has."""

    advice: dict[str, object]


def validated(kind: type[Kind], content: bytes) -> Kind:
    """The value in `content`, JSON. `Invalid` where it is none of `kind`."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][:6])
        where = shorten(visible(where), MOST_OF_A_NAME) or "its start"  # keys are the sender's own
        fault = shorten(visible(first["msg"]), 2 * MOST_OF_A_NAME)
        raise Invalid(f"{kind.__name__} is invalid at {where}: {fault}") from None


def read(path: str, option: str = "") -> bytes:
    """The content of a saved report. `UsageError`, beginning with `option`, where it cannot be read or is too large."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _unusable(option, f"cannot read {path!r} ({reason}); check the path") from None
    if len(content) > LARGEST:
        raise _unusable(option, f"{path!r} is larger than any report ({LARGEST} bytes)")
    return content


def is_repair(content: bytes) -> bool:
    """Whether `content` is, by its keys, the report of a repair and not of a scan."""
    return _has(_Outcome, content)


def _has(keys: type[BaseModel], content: bytes) -> bool:
    try:
        keys.model_validate_json(content)
    except ValidationError:
        return False
    return True


def parse(kind: type[Kind], content: bytes, path: str, option: str = "") -> Kind:
    """The report that `read` found in `path`. `UsageError` where it is none."""
    if _has(_Advice, content):
        raise _unusable(option, f"{path!r} is a profile; its page is written by `bdscan profile ... --html FILE`")
    try:
        return validated(kind, content)
    except Invalid as error:
        raise _unusable(option, f"{path!r} is no bdscan report of schema 1.0: {error}") from None


def read_report(path: str, option: str = "") -> Report:
    """The report of a scan in the JSON file `path`. `UsageError` where it is none."""
    content = read(path, option)
    if is_repair(content):
        raise _unusable(option, f"{path!r} is the report of a repair; name that of a scan")
    return parse(Report, content, path, option)


def _unusable(option: str, why: str) -> UsageError:
    return UsageError(f"{option}: {why}" if option else why)
