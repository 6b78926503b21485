"""The networks of the benchmark: trained ones where there are any, else random features with a fitted last layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision.models
from torch import nn

from bdscan.errors import UsageError
from bdscan.intake.architecture import build, fit, without_wrappers
from bdscan.zoo import networks
from bdscan.zoo.clean_images import CleanImages, from_test_split
from bdscan.zoo.data import resize
from bdscan.zoo.measure import present
from bdscan.zoo.model_folder import ModelFolder, find
from bdscan.zoo.random_network import fit_last_layer

DATA = {"mnist": "mnist", "gtsrb": "gtsrb", "resnet18": "cifar10"}
NETWORK = {"mnist": "mnist_cnn", "gtsrb": "gtsrb_cnn", "resnet18": "resnet18_cifar"}
RANDOM = "random features, last layer fitted on the samples: for timing only"
SIDE = 224


@dataclass(frozen=True)
class BenchmarkSubject:
    """What a scan is given, and the same network as a module.

    Attributes:
        name: what the table calls it.
        weights, samples, arch: files, and the value of `--arch`.
        module: the network in evaluation mode; (x - mean) / std is what it gets.
        targets: the true targets; None where nobody trained it.
    """

    name: str
    weights: Path
    samples: Path
    arch: str
    module: nn.Module
    mean: float
    std: float
    classes: int
    targets: tuple[int, ...] | None
    note: str = ""

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters())


def small(part: str, data: Path, models: Path, scratch: Path, seed: int) -> BenchmarkSubject:
    """P4's MNIST and GTSRB networks, and a CIFAR ResNet-18."""
    clean = from_test_split(DATA[part], data, seed)
    samples = scratch / "samples.npz"
    clean.write_drawn(samples)
    trained = _trained(models, NETWORK[part])
    if trained is None:
        return _random(part, getattr(networks, NETWORK[part]), clean, samples, scratch, seed)
    settings = trained.card["settings"]
    arch = trained.arch(scratch)
    assert arch is not None
    state, _ = without_wrappers(torch.load(trained.weights, map_location="cpu", weights_only=True))
    module, _ = build(arch, state)
    fit(module, state, arch)
    return BenchmarkSubject(
        name=trained.name,
        weights=trained.weights,
        samples=samples,
        arch=arch,
        module=module.eval(),
        mean=settings["mean"],
        std=settings["std"],
        classes=trained.card["num_classes"],
        targets=trained.targets,
    )


def large(outputs: int, data: Path, scratch: Path, seed: int) -> BenchmarkSubject:
    """torchvision's ResNet-18 at 224x224 with so many outputs; ten of them have samples, CIFAR-10 made larger."""
    clean = from_test_split("cifar10", data, seed)
    x = resize(clean.x[clean.drawn], (SIDE, SIDE))
    y = clean.y[clean.drawn] * (outputs // 10)
    samples = scratch / f"samples-{outputs}.npz"
    np.savez(samples, x=x, y=y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = torchvision.models.resnet18(weights=None)
        module.fc = nn.Linear(module.fc.in_features, outputs)
    fit_last_layer(module, present(x, 0.0, 1.0), torch.from_numpy(y), seed)
    weights = scratch / f"resnet18-{outputs}.pt"
    torch.save(module.state_dict(), weights)
    name = f"resnet18, {SIDE}x{SIDE}, {outputs} outputs"
    return BenchmarkSubject(name, weights, samples, "torchvision:resnet18", module, 0.0, 1.0, outputs, None, RANDOM)


def _random(
    part: str, factory: Callable[[], nn.Module], clean: CleanImages, samples: Path, scratch: Path, seed: int
) -> BenchmarkSubject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory()
    x, y = clean.x[clean.drawn], clean.y[clean.drawn]
    fit_last_layer(module, present(x, 0.0, 1.0), torch.from_numpy(y), seed)
    weights = scratch / f"{part}.pt"
    torch.save(module.state_dict(), weights)
    arch = f"{networks.__file__}:{factory.__name__}"
    classes = int(y.max()) + 1
    return BenchmarkSubject(f"{part}, random", weights, samples, arch, module, 0.0, 1.0, classes, None, RANDOM)


def _trained(models: Path, network: str) -> ModelFolder | None:
    """A trained network of this architecture: one with a patch before another backdoored one before a clean one."""
    try:
        found = [model for model in find([models]) if str(model.card.get("arch")).endswith(f":{network}")]
    except UsageError:
        return None
    return min(found, key=lambda m: (m.truth == "clean", "badnets" not in m.name, m.name), default=None)
