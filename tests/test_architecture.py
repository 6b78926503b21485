"""Imports go one way: cli -> api -> jail -> mitigate -> repair -> pipeline -> detectors -> intake, onnx -> report.

Read from the source, so that an import inside a function counts too; `if TYPE_CHECKING:` blocks do not, they are gone
when the program runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "scanner" / "bdscan"

FLOORS = (
    {"cli"},
    {"zoo"},
    {"on_ray"},
    {"executor", "cache", "attest"},
    {"api"},
    {"deliver", "destination"},
    {"jail"},
    {"mitigate"},
    {"repair"},
    {"pipeline"},
    {"confirming"},
    {"judge", "waivers", "stages", "score"},
    {"few_classes", "suspects", "ranking"},
    {"detectors", "rules", "calibration"},
    {"intake"},
    {"onnx"},
    {"saved"},
    {"formats"},
    {"cache_key"},
    {"settings"},
    {"report", "resources", "errors", "atomic"},
)
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}

# What a part may import of bdscan, where that is less than all that lies below it.
ONLY = {
    "formats": {"formats", "report", "resources", "settings"},
    "report": {"report"},
    "errors": set(),
    "resources": set(),
    "settings": {"report"},
}
# Text that makes hostile strings inert is formats' (formats/text.py); the others do not know any format.
TEXT_ONLY = {"saved", "jail", "pipeline", "judge", "rules"}
LIGHT = {
    "cli",
    "jail.wire",
    "jail.parent",
    "jail.environment",
    "jail.scratch",
    "jail.room",
    "jail.sandbox",
    "jail.places",
    "jail.landlock",
    "jail.seccomp",
    "jail.bpf",
    "jail.syscalls",
    "formats",
    "report",
    "saved",
    "settings",
    "errors",
    "resources",
    "api",
    "attest",
    "on_ray",
    "executor",
    "cache",
    "cache_key",
    "waivers",
    "atomic",
    "deliver",
    "destination",
    "repair.outcome",
    "mitigate.outcome",
    "mitigate.page",
    "mitigate.words",
}
URL_TEXT = {"urllib.parse", "urllib.parse.quote", "urllib.parse.urlsplit"}  # cuts strings, opens nothing
HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "sklearn", "scipy"}


def modules() -> dict[str, Path]:
    """`detectors.steps` -> its file, for every module of the package but its root."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found[name] = path
    return found


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Every imported dotted name, and whether it is imported when the module itself is (not inside a function)."""
    stack: list[tuple[ast.AST, bool]] = [(tree, True)]
    while stack:
        node, top = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or "", top
            yield from ((f"{node.module}.{alias.name}", top) for alias in node.names)
        inner = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        stack += [(child, inner) for child in ast.iter_child_nodes(node)]


def inside(path: Path) -> set[str]:
    """The modules of bdscan that the file imports, without the package's name."""
    names = {
        name.removeprefix("bdscan.") for name, _ in imports(ast.parse(path.read_text())) if name.startswith("bdscan.")
    }
    return {name for name in names if name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    part = name.split(".")[0]
    assert part in FLOOR, f"{part} has no floor yet: say in FLOORS where it stands"
    for other in inside(MODULES[name]):
        target = other.split(".")[0]
        if target == part:
            continue
        if part in ONLY:
            assert target in ONLY[part], f"{name} imports {other}"
        assert FLOOR[target] > FLOOR[part], f"{name} imports {other}: against the direction"
        if target == "formats" and part in TEXT_ONLY:
            assert other in {"formats", "formats.text"}, f"{name} imports {other}"


def test_detectors_never_import_each_other():
    """Shared code is in common.py, robust.py and inversion/; a detector is a file that describes itself."""
    detectors = {
        name for name, path in MODULES.items() if name.startswith("detectors.") and "about = About(" in path.read_text()
    }
    assert len(detectors) > 2
    for name in detectors - {"detectors.registry"}:
        assert not inside(MODULES[name]) & (detectors - {name}), name


@pytest.mark.parametrize(
    "name", [name for name in MODULES if any(name == x or name.startswith(x + ".") for x in LIGHT)]
)
def test_what_stays_outside_the_worker_is_light_to_import(name):
    """The parent never parses a model, and `bdscan --help` never waits for torch."""
    loaded = {module.split(".")[0] for module, top in imports(ast.parse(MODULES[name].read_text())) if top}
    assert not loaded & HEAVY


def test_only_the_worker_and_the_scan_without_isolation_run_the_pipeline():
    callers = {
        name
        for name, path in MODULES.items()
        if "pipeline" in inside(path) or "bdscan import pipeline" in path.read_text()
    }
    assert callers - {"pipeline"} == {"api", "jail.worker", "repair.run"}, "the last runs in the worker"


def test_nothing_unpickles_and_nothing_speaks_to_the_network():
    """`weights_only=False` and network modules appear nowhere in the package."""
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        loaded = {module.split(".")[0] for module, _ in imports(tree) if module not in URL_TEXT}
        assert not loaded & {"urllib", "http", "socket", "requests", "ftplib", "cloudpickle", "dill", "joblib"}, name
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "weights_only":
                assert isinstance(node.value, ast.Constant), name
                assert node.value.value is True, name
