"""A folder with a card: a network of known truth, and all that a scan is told of it.

Two kinds of card are read: those that `bdscan zoo train` writes, and those of published networks, whose folder has an
`arch.py` with `build(**kwargs)` beside the weights (none for ONNX) and, where needed, clean images in `samples.npz`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdscan.errors import UsageError
from bdscan.zoo import networks
from bdscan.zoo.train import CARD

OURS = "bdscan/zoo/networks.py:"
FACTORY = "bdscan_factory"
WHOLE = (".onnx", ".ts")  # files that hold their architecture
Classes = tuple[int, ...]


@dataclass(frozen=True)
class ModelFolder:
    """One network on disk.

    Attributes:
        truth: `clean` or `backdoored`, the card's word.
        targets: the classes that triggered images go to; none for a clean network.
        sources: for each target the classes whose images the trigger works on; empty means all.
        samples: the folder's own clean images, or None where the data set's serve.
    """

    name: str
    path: Path
    card: dict[str, Any]
    data: str
    truth: str
    targets: Classes
    sources: tuple[Classes, ...]
    weights: Path
    samples: Path | None

    def arch(self, scratch: Path) -> str | None:
        """What `--arch` gets: a factory without arguments, written into `scratch` where the card has arguments."""
        given = self.card.get("arch")
        if self.weights.suffix in WHOLE or given is None:
            return None
        if isinstance(given, str):
            return f"{networks.__file__}:{given.removeprefix(OURS)}" if given.startswith(OURS) else given
        source = (self.path / "arch.py").read_text()
        call = f"{given['factory']}(**{given.get('kwargs', {})!r})"
        file = scratch / f"arch_{self.name}.py"
        file.write_text(f"{source}\n\ndef {FACTORY}():\n    return {call}\n")
        return f"{file}:{FACTORY}"


def find(folders: Sequence[Path], only: str = "") -> list[ModelFolder]:
    """The networks in these folders (each a network, or a folder of networks) whose name contains `only`, by name.

    Raises UsageError where a folder has none, or two networks have one name.
    """
    found: dict[str, ModelFolder] = {}
    for folder in folders:
        cards = [folder / CARD] if (folder / CARD).is_file() else sorted(folder.glob(f"*/{CARD}"))
        if not cards:
            raise UsageError(f"{folder}: neither it nor a folder in it holds a {CARD}")
        for card in cards:
            model = read(card.parent)
            if model.name in found:
                raise UsageError(f"two networks are called {model.name!r}: {found[model.name].path} and {model.path}")
            found[model.name] = model
    chosen = [model for name, model in sorted(found.items()) if only in name]
    if not chosen:
        raise UsageError(f"no network's name contains {only!r}")
    return chosen


def read(path: Path) -> ModelFolder:
    """The network in one folder. Raises UsageError for a card that lacks what a table needs."""
    try:
        card = json.loads((path / CARD).read_text())
        name, data, truth = (str(card[key]) for key in ("name", "dataset", "truth"))
        weights = path / str(card["weights_file"])
        targets = _numbers(card["target_labels"])
        sources = _sources(card["source_labels"], len(targets))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path / CARD}: not a card that can be read ({type(error).__name__}: {error})") from None
    own = path / "samples.npz"
    return ModelFolder(name, path, card, data, truth, targets, sources, weights, own if own.is_file() else None)


def _numbers(value: Any) -> Classes:
    if value is None:
        return ()
    return (int(value),) if isinstance(value, int) else tuple(int(one) for one in value)


def _sources(value: Any, targets: int) -> tuple[Classes, ...]:
    """Words such as "all other classes" mean all; a flat list holds for every target, a list of lists is one each."""
    if not isinstance(value, list) or not value:
        return ((),) * targets
    if all(isinstance(one, list) for one in value):
        return tuple(_numbers(one) for one in value)
    return (_numbers(value),) * targets
