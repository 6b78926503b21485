"""The classes that a whole-module pickle may name. Everything else in it is refused before anything is built.

Only classes of layers and networks: no factory functions (torchvision's would download weights), no user code. A pickle
that names these can build modules and set their attributes, nothing more.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch.nn.functional as functional
import torch.nn.modules
from torch import nn

FUNCTIONS = (
    "relu",
    "gelu",
    "silu",
    "elu",
    "leaky_relu",
    "hardswish",
    "hardtanh",
    "relu6",
    "selu",
    "mish",
    "tanh",
    "sigmoid",
)
NOT_FOR_IMAGES = ("quantization", "detection", "segmentation", "video", "optical_flow")


def _submodules(package: ModuleType) -> list[ModuleType]:
    names = [info.name for info in pkgutil.iter_modules(package.__path__) if info.name not in NOT_FOR_IMAGES]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def _module_classes(module: ModuleType) -> list[type]:
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, nn.Module) and value.__module__ == module.__name__
    ]


@cache
def allowed_globals() -> tuple[type | Callable[..., Any], ...]:
    """Layer classes of torch.nn, network classes of torchvision.models, and plain activation functions."""
    import torchvision.models  # a second and a half; most models are no whole modules

    modules = [*_submodules(torch.nn.modules), *_submodules(torchvision.models)]
    modules += [importlib.import_module(f"torchvision.ops.{name}") for name in ("misc", "stochastic_depth")]
    classes = [cls for module in modules for cls in _module_classes(module)]
    functions = [getattr(functional, name) for name in FUNCTIONS]
    return (*classes, nn.DataParallel, *functions, set)
