"""From class keys (folder names or integers) to the model's output indices and class names."""

from __future__ import annotations

import json
from typing import Any

from bdscan.errors import UsageError
from bdscan.intake.files import read_text
from bdscan.intake.raw_samples import RawSamples


def read_labels(path: str) -> tuple[str, ...]:
    """Class names in output order: one a line, or a JSON list, or a JSON object of index -> name or name -> index."""
    text = read_text(path, "--labels")
    if text.lstrip().startswith(("[", "{")):
        return _from_json(path, text)
    names = tuple(line.strip() for line in text.splitlines())
    while names and not names[-1]:
        names = names[:-1]
    if len(set(names)) != len(names) or "" in names:
        raise UsageError(f"--labels {path}: every line must hold one class name, each once")
    return names


def _from_json(path: str, text: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"--labels {path}: not valid JSON") from None
    try:
        names = _by_index(content)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists as names
        raise UsageError(f"--labels {path}: holds numbers or names of absurd size") from None
    if not names or sorted(names) != list(range(len(names))) or len(set(names.values())) != len(names):
        raise UsageError(f"--labels {path}: must give every class from 0 on one name of its own")
    return tuple(names[index] for index in range(len(names)))


def _by_index(content: Any) -> dict[int, str]:
    if isinstance(content, list):
        return {index: str(name) for index, name in enumerate(content)}
    if all(str(key).isdecimal() for key in content):
        return {int(key): str(name[-1] if isinstance(name, list) and name else name) for key, name in content.items()}
    if all(isinstance(value, int) for value in content.values()):
        return {value: str(key) for key, value in content.items()}
    return {}


def resolve_labels(raw: RawSamples, outputs: int, given: tuple[str, ...] | None) -> tuple[list[int], tuple[str, ...]]:
    """Output index of each image and the names of all K outputs; UsageError where they cannot be told."""
    names = given or raw.names
    if names is not None and len(names) != outputs:
        source = "the labels file has" if given else "the samples have"
        raise UsageError(f"{source} {len(names)} classes but the model has {outputs} outputs")
    present = sorted(set(raw.keys))
    numbers = all(key.isascii() and key.isdecimal() for key in present)
    if raw.folders and given and all(key in given for key in present):
        place = {name: index for index, name in enumerate(given)}
    elif numbers:
        place = {key: int(key) for key in present}
        if max(place.values()) >= outputs:
            highest = max(place.values())
            raise UsageError(
                f"the samples have label {highest} but the model has {outputs} outputs (0 to {outputs - 1})"
            )
        if len(set(place.values())) != len(present):
            raise UsageError("two class folders have the same number (e.g. 1 and 01)")
    elif given:
        unknown = ", ".join(repr(key) for key in present if key not in given)
        raise UsageError(f"class folders not in the labels file: {unknown[:200]}")
    elif len(present) == outputs:
        place = {name: index for index, name in enumerate(present)}
        names = tuple(present)
    else:
        raise UsageError(
            f"{len(present)} class folders named by words but the model has {outputs} outputs: "
            "give their order with --labels FILE (one class name a line)"
        )
    return [place[key] for key in raw.keys], names or tuple(str(index) for index in range(outputs))
