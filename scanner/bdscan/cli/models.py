"""Which models a command names, and where the reports of each go."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from bdscan.errors import UsageError

NAME, PATH = "{name}", "{path}"  # in the name of a report: the model's own name; its path in one word
STDOUT: Final = "-"


def expand(given: Sequence[str]) -> tuple[str, ...]:
    """The files that paths and patterns name, each once; `UsageError` for a pattern that names nothing.

    A file that is there is itself, whatever characters it is written with. What is not there stays: its scan says so.
    """
    found: dict[str, str] = {}
    for each in given:
        names = [each]
        if not os.path.lexists(each) and glob.has_magic(each):
            names = sorted(name for name in glob.glob(each, recursive=True) if not os.path.isdir(name))
            if not names:
                raise UsageError(f"{each}: no file fits this pattern; nothing would have been scanned")
        for name in names:
            found.setdefault(os.path.normpath(name), name)
    return tuple(found.values())


def outputs_for(models: Sequence[str], outputs: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """For each model its own report paths. With several models each path must say whose it is.

    Two models that would write one file are refused, before any of them is scanned.
    """
    if len(models) > 1:
        for output in outputs:
            if output == STDOUT:
                raise UsageError(f"-o -: stdout takes the report of one model; write files, e.g. -o {NAME}.json")
            if NAME not in output and PATH not in output:
                folder, name = os.path.split(output)
                better = os.path.join(folder, f"{NAME}{PurePath(name).suffix or '.json'}")
                raise UsageError(f"-o {output}: {len(models)} models, one report each; write e.g. -o '{better}'")
    for output in outputs:
        if unknown := [part for part in re.findall(r"\{[^{}/]*\}", output) if part not in (NAME, PATH)]:
            raise UsageError(f"-o {output}: {unknown[0]} means nothing here; known are {NAME} and {PATH}")
    planned = tuple(tuple(named(output, model) for output in outputs) for model in models)
    taken: dict[str, str] = {}
    for model, paths in zip(models, planned, strict=True):
        for path in paths:
            place = os.path.realpath(path)
            if path != STDOUT and taken.setdefault(place, model) != model:
                hint = f"; write {PATH} in place of {NAME}" if any(NAME in output for output in outputs) else ""
                raise UsageError(f"-o {path}: the report of {taken[place]} and of {model}{hint}")
    return planned


def named(output: str, model: str) -> str:
    """`output` with the model's name and path put in: `{path}` of `../a/b.onnx` is `a-b.onnx`."""
    parts = [part for part in PurePath(os.path.normpath(model)).parts if part not in ("..", os.sep)]
    return output.replace(NAME, os.path.basename(model)).replace(PATH, "-".join(parts))
