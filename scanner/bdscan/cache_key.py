"""The name of a kept report: a digest of everything that decides what a scan says.

Files count by their content and, because a report shows them, by the paths that the user gave. Only bytes are read
here: nothing is parsed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from bdscan import __version__
from bdscan.resources import PACKAGE, resource
from bdscan.settings import Settings

# Packages whose version can move a number.
PACKAGES: Final = ("numpy", "onnx", "onnxruntime", "pillow", "scikit-learn", "scipy", "torch", "torchvision")
GPUS: Final = Path("/proc/driver/nvidia/gpus")
VISIBLE: Final = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


def key_of(settings: Settings, isolate: bool) -> str:
    """64 hex digits. Raises `OSError` for a file that cannot be read."""
    parts = {
        "settings": settings.model_dump(mode="json"),
        "isolate": isolate,
        "files": _files(settings),
        "bdscan": _program(),
        "device": _device(settings),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def program_digest() -> str:
    """64 hex digits of what computes: bdscan's own files, Python, and the libraries that can move a number."""
    return hashlib.sha256(json.dumps(_program(), sort_keys=True).encode()).hexdigest()


def file_digest(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(settings: Settings) -> dict[str, Any]:
    """Digests by role. A reference and labels have their own; own rules keep their order."""
    single = {
        "model": settings.model,
        "labels": settings.labels,
        "reference": settings.reference,
        "calibration": settings.calibration,
    }
    return {
        **{role: file_digest(path) for role, path in single.items() if path},
        "samples": _samples(Path(settings.samples)),
        "rules": [file_digest(path) for path in settings.rules],
        "code": [_code(arch) for arch in (settings.arch, settings.reference_arch)],
    }


def _samples(place: Path) -> str:
    if not place.is_dir():
        return file_digest(place)
    inside = list(place.rglob("*"))  # which does not go into linked folders: a class folder may be one
    linked = [path for path in inside if path.is_symlink() and path.is_dir()]
    beyond = [path for link in linked for path in link.rglob("*")]
    return _tree(place, (path for path in (*inside, *beyond) if path.is_file()))


def _code(arch: str | None) -> str:
    """All Python beside an `--arch` file: it may import its neighbours."""
    file = (arch or "").rpartition(":")[0]
    if not file.endswith(".py"):
        return ""
    folder = Path(file).parent
    return f"{file_digest(file)} {_tree(folder, folder.rglob('*.py'))}"


def _tree(root: Path, files: Any) -> str:
    lines = sorted(f"{path.relative_to(root).as_posix()!r} {file_digest(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


@functools.cache
def _program() -> dict[str, Any]:
    """The program itself, to the byte, with its rules and calibration: a version is not raised at every change."""
    rules = resource("rules")
    return {
        "version": __version__,
        "code": _tree(PACKAGE, PACKAGE.rglob("*.py")),
        "rules": _tree(rules, [*rules.rglob("*.toml"), *rules.rglob("*.json")]),
        "python": sys.version,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _device(settings: Settings) -> dict[str, Any]:
    """What `--device auto` would find here, without asking torch, which takes seconds."""
    gpus = sorted(path.name for path in GPUS.glob("*")) if settings.device != "cpu" else []
    visible = {name: os.environ.get(name, "") for name in VISIBLE} if gpus else {}
    models = [(GPUS / name / "information").read_text().partition("\n")[0] for name in gpus]
    return {"system": platform.system(), "machine": platform.machine(), "gpus": models, "visible": visible}
