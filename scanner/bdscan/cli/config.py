"""Flag before environment before file: what is not on the command line comes from BDSCAN_ variables, then a file.

The command line's own parser does the merging (its `default_map` lies below the flags and above the defaults); here
both other sources are found, checked by one model (config_keys.py) and put in order.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import typer

from bdscan.cli.exits import guarded
from bdscan.errors import UsageError

PREFIX: Final = "BDSCAN_"
OWN: Final = "bdscan.toml"
SHARED: Final = "pyproject.toml"
NAMED: Final = f"{PREFIX}CONFIG"  # which file; no key of one
LARGEST: Final = 1_000_000
CACHE: Final = "cache"
USER: Final = "user"  # the user's own cache folder
WORDS: Final = ("-", USER)  # stdout is the first: no paths


@dataclass(frozen=True)
class Source:
    """Where values came from: the file as shown to the user (empty: none), and the keys that it sets."""

    file: str = ""
    keys: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def merge(context: typer.Context, file: str | None) -> str | None:
    """Callback of `--config`, which is read before the other options: what it finds becomes their defaults."""
    with guarded():
        source = from_file(Path(file), trusted=True) if file else discovered()
        context.default_map = {**source.values, **from_environment(os.environ)}
        context.meta[__name__] = source
    return file


def source_of(context: typer.Context) -> Source:
    found = context.meta.get(__name__)
    return found if isinstance(found, Source) else Source()


def discovered() -> Source:
    """The configuration of the working folder, or of the next folder above it up to the root of its repository."""
    here = Path.cwd()
    folders = (here, *here.parents)
    root = next((number for number, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    for folder in folders[: root + 1]:
        own, shared = folder / OWN, folder / SHARED
        found = [path for path in (own, shared) if path.is_file() and (path is own or _table(path) is not None)]
        if len(found) > 1:
            raise UsageError(f"{own} and [tool.bdscan] in {shared.name}: keep one of them, or name one with --config")
        if found:
            return from_file(found[0], trusted=False)
    return Source()


def from_file(path: Path, *, trusted: bool) -> Source:
    """The values in `path`. Only a file that the user named (`trusted`) may name code for a scan to run, or a cluster.

    A file that lies in the working folder may have come with the model, and then it is the attacker's.
    """
    from bdscan.cli.config_keys import CLUSTER, CODE, PATHS, kebab

    table = _table(path) or {}
    values = _checked(table, str(path))
    for key in CODE:
        if (values.get(key) or "").rpartition(":")[0].endswith(".py"):
            if not trusted:
                raise UsageError(
                    f"{path}: {kebab(key)} names code to run, and this file was found, not given; "
                    f"read both and add --config {path}"
                )
            values[key] = _beside(path, values[key])
    if values.get(CLUSTER) is not None and not trusted:
        raise UsageError(
            f"{path}: {kebab(CLUSTER)} names machines that are trusted with code, and this file was found, not given; "
            f"add --config {path}"
        )
    if values.get(CACHE) not in (None, USER) and not trusted:
        raise UsageError(
            f"{path}: a folder of reports that this file names may have come with it, and with forged ones; write"
            f' {CACHE} = "{USER}", or add --config {path}'
        )
    for key in PATHS:
        if isinstance(values.get(key), str):
            values[key] = _beside(path, values[key])
        elif key in values:
            values[key] = [_beside(path, each) for each in values[key]]
    return Source(_shown(path), tuple(table), _for_options(values))


def from_environment(given: Mapping[str, str]) -> dict[str, Any]:
    """Values of BDSCAN_ variables; those that are set to nothing do not count."""
    from bdscan.cli.config_keys import Config, kebab

    lists = {name for name, each in Config.model_fields.items() if each.default == ()}
    values: dict[str, Any] = {}
    for name in sorted(given):
        if not name.startswith(PREFIX) or name == NAMED or not given[name].strip():
            continue
        key = name.removeprefix(PREFIX).lower()
        value = given[name].split(None if key != "detectors" else ",") if key in lists else given[name]
        values |= _checked({kebab(key): value}, name, named=False)
    return _for_options(values)


def _table(path: Path) -> dict[str, Any] | None:
    """The configuration in a file; None where a pyproject.toml has none."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path}: larger than a configuration may be ({LARGEST} bytes)")
        data = tomllib.loads(content.decode())
    except OSError as error:
        raise UsageError(f"--config: cannot read {str(path)!r} ({error.strerror}); check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    if path.name != SHARED:
        return data
    tool = data.get("tool")
    table = tool.get("bdscan") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: tool.bdscan: not a table; write [tool.bdscan]")
    return table


def _checked(values: dict[str, Any], where: str, *, named: bool = True) -> dict[str, Any]:
    """`values` by the options' own names; `UsageError` for the first key or value that is none. `where` begins it."""
    from pydantic import ValidationError

    from bdscan.cli.config_keys import Config, kebab

    try:
        return Config.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    key = str(first["loc"][0])
    if first["type"] != "extra_forbidden":
        raise UsageError(f"{where}: {f'{key}: ' if named else ''}{first['msg']}")
    import difflib

    known = [kebab(name) for name in Config.model_fields]
    close = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
    if not named:
        known, close = [[PREFIX + each.replace("-", "_").upper() for each in names] for names in (known, close)]
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    raise UsageError(f"{where}: {f'unknown key {key}' if named else 'unknown variable'}; {hint}")


def _for_options(values: dict[str, Any]) -> dict[str, Any]:
    """As the options take them: `--detectors` is one string."""
    if "detectors" in values:
        values["detectors"] = ",".join(values["detectors"])
    return values


def _beside(path: Path, value: str) -> str:
    """`value` seen from the working folder, where it was written to be seen from the folder of `path`."""
    folder = os.path.relpath(path.parent)
    if os.path.isabs(value) or value in WORDS or folder == ".":
        return value
    return os.path.join(folder, value)


def _shown(path: Path) -> str:
    near = os.path.relpath(path)
    return str(path) if near.startswith(os.path.join("..", "..")) else near
