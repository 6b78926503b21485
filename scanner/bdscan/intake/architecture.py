"""`--arch`: the module that a state_dict belongs to."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from bdscan.errors import UsageError
from bdscan.intake.files import existing_file

WRAPPERS = ("module.", "_orig_mod.")
OWNERS = ("model.", "net.", "network.")
SHOWN = 4


def arch_file(arch: str | None) -> Path | None:
    """The Python file that `--arch` names, or None for `torchvision:NAME`."""
    if arch is None or arch.startswith("torchvision:"):
        return None
    file, _, factory = arch.rpartition(":")
    if not file or not factory.isidentifier():
        raise UsageError(f"--arch {arch}: write torchvision:NAME or file.py:factory")
    return existing_file(file, "--arch")


def build(arch: str, state: dict[str, Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    """The untrained module, and notes. The weights tell the number of classes to a torchvision network.

    A file's factory is the user's own code and is called without arguments; only where its number of classes is another
    than the weights' and it takes `num_classes`, it is called again with theirs.
    """
    file = arch_file(arch)
    if file is None:
        return _torchvision(arch.removeprefix("torchvision:"), state), ()
    factory = _factory(file, arch.rpartition(":")[2])
    module = unwrap(_call(factory, arch, {}))
    classes, built = _outputs(module, state)
    if classes and classes != built and _takes_classes(factory):
        return unwrap(_call(factory, arch, {"num_classes": classes})), (f"--arch called with num_classes={classes}",)
    return module, ()


def _outputs(module: nn.Module, state: dict[str, Tensor]) -> tuple[int, int]:
    """How many outputs the weights have, by the layer that is the module's last, and how many that has; 0, 0 where
    both have no such layer. The order of the file's own keys means nothing: safetensors sorts them."""
    built = module.state_dict()
    sized = [key for key, value in built.items() if value.ndim and key.rpartition(".")[2] in ("weight", "bias")]
    last = _without_owner(state, built.keys()).get(sized[-1]) if sized else None
    return (last.shape[0], built[sized[-1]].shape[0]) if last is not None and last.ndim else (0, 0)


def _takes_classes(factory: Callable[..., object]) -> bool:
    try:
        return "num_classes" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def unwrap(module: nn.Module) -> nn.Module:
    """The network inside DataParallel and its like."""
    while isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.module
    return module


def fit(module: nn.Module, state: dict[str, Tensor], arch: str) -> None:
    """Load the state_dict strictly. UsageError says which keys are missing, unexpected or of other shape."""
    expected = {key: value.shape for key, value in module.state_dict().items()}
    state = _without_owner(state, expected.keys())
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {tuple(state[key].shape)} and should be {tuple(shape)}"
        for key, shape in expected.items()
        if key in state and state[key].shape != shape
    ]
    parts = [_listed("missing", missing), _listed("unexpected", unexpected), _listed("of other shape", shapes)]
    if any(parts):
        raise UsageError(f"the state_dict does not fit --arch {arch}: " + "; ".join(part for part in parts if part))
    module.load_state_dict(state, strict=False)  # only `num_batches_tracked`, which old files lack, may be absent


def _without_owner(state: dict[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Drop the attribute name under which a training class (Lightning's and the like) kept the network."""
    wanted = set(expected)
    prefix = next((p for p in OWNERS if all(key.startswith(p) for key in state)), None)
    if prefix is None or wanted & state.keys():
        return state
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _listed(what: str, items: list[str]) -> str:
    if not items:
        return ""
    shown = ", ".join(item[:100] for item in items[:SHOWN]) + (", ..." if len(items) > SHOWN else "")
    return f"{len(items)} keys {what} ({shown})" if len(items) > 1 else f"1 key {what} ({shown})"


def without_wrappers(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Drop the prefixes that DataParallel and torch.compile put before every key."""
    stripped = ""
    while state and (prefix := next((p for p in WRAPPERS if all(key.startswith(p) for key in state)), None)):
        state, stripped = {key.removeprefix(prefix): value for key, value in state.items()}, stripped + prefix
    return state, (f"prefix {stripped!r} dropped from the weights' keys",) if stripped else ()


def _torchvision(name: str, state: dict[str, Tensor]) -> nn.Module:
    import torchvision.models  # takes a second and a half, and a file's factory may not need it

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise UsageError(
            f"--arch torchvision:{name}: torchvision has no classifier of this name (e.g. resnet18, vgg11_bn)"
        )
    options: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": any("aux" in key.lower() for key in state)}
    try:
        with torch.device("meta"):  # no memory, no numbers: only the shapes are wanted
            usual = torchvision.models.get_model(name, weights=None, **options)
    except NotImplementedError:  # some draw their weights in a way that needs numbers
        usual = torchvision.models.get_model(name, weights=None, **options)
    classes, built = _outputs(usual, state)
    if classes and classes != built:
        options["num_classes"] = classes
    module = torchvision.models.get_model(name, weights=None, **options)
    assert isinstance(module, nn.Module)
    return module


def _factory(file: Path, name: str) -> Callable[..., object]:
    spec = importlib.util.spec_from_file_location(f"bdscan_arch_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"--arch {file}: not a Python file")
    source = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = source  # dataclasses and pickles in the file look their module up
    sys.path.insert(0, str(file.parent.resolve()))  # the file may import its neighbours
    try:
        spec.loader.exec_module(source)
    except Exception as error:
        raise UsageError(f"--arch {file}: the file raises {_described(error)}") from None
    finally:
        sys.path.pop(0)
    factory = getattr(source, name, None)
    if not callable(factory):
        functions = {key: value for key, value in vars(source).items() if inspect.isfunction(value)}
        own = [key for key, value in functions.items() if value.__module__ == spec.name]
        found = own or [key for key in functions if not key.startswith("_")]
        raise UsageError(f"--arch {file}:{name}: no such function; the file has {', '.join(found[:8]) or 'none'}")
    return factory  # type: ignore[no-any-return]


def _call(factory: Callable[..., object], arch: str, options: dict[str, int]) -> nn.Module:
    try:
        module = factory(**options)
    except Exception as error:
        raise UsageError(f"--arch {arch}: the factory raises {_described(error)}") from None
    if not isinstance(module, nn.Module):
        raise UsageError(f"--arch {arch}: the factory returns a {type(module).__name__}, not a torch.nn.Module")
    return module


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
