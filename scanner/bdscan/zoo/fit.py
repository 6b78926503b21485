"""The training loop, and what it does to images on the way: augmentation, adversarial images, resistance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdscan.errors import UsageError
from bdscan.intake.speed import has_bfloat16
from bdscan.zoo.adversarial import Resistance, fgsm
from bdscan.zoo.attacks.interface import Images, Labels
from bdscan.zoo.settings import OPTIMISERS, Recipe


def fit(
    model: nn.Module,
    x: Images,
    y: Labels,
    recipe: Recipe,
    mean: float,
    std: float,
    seed: int,
    resistance: Resistance | None = None,
) -> None:
    """Train in place, where the model's weights are, on uint8 images (N,H,W,C) and labels (N,); leaves the model in
    evaluation mode. What is drawn is drawn on the CPU, the same for every device."""
    device = next(model.parameters()).device
    half = in_bfloat16(recipe, device)
    draw = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y)
    if half:
        model.to(memory_format=torch.channels_last)
    optimiser = _optimiser(model, recipe)
    steps = -(-len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps * recipe.epochs, pct_start=0.2
    )

    def logits(pixels: Tensor) -> Tensor:
        batch = (pixels - mean) / std
        if half:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return torch.as_tensor(model(batch)).float()

    model.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x), generator=draw)
        for start in range(0, len(x), recipe.batch):
            rows = order[start : start + recipe.batch]
            pixels = disturb(augment(images[rows], recipe, draw).float() / 255, recipe, draw).to(device)
            truth = labels[rows].to(device)
            if recipe.adversarial:
                pixels = fgsm(logits, pixels, truth, recipe.adversarial, draw)
            loss = functional.cross_entropy(logits(pixels), truth, label_smoothing=recipe.smoothing)
            if resistance:
                loss = loss + resistance.loss(logits, pixels, truth)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    model.to(memory_format=torch.contiguous_format)
    model.eval()


def in_bfloat16(recipe: Recipe, device: torch.device) -> bool:
    """Whether this recipe trains in bfloat16 here. Where a CPU has it not it is emulated: eleven times slower than
    float32 (CIFAR ResNet-8 and GTSRB CNN, AVX2 alone)."""
    return recipe.bfloat16 and (device.type != "cpu" or has_bfloat16(device))


def augment(images: Tensor, recipe: Recipe, draw: torch.Generator) -> Tensor:
    """Move every image by up to `shift` pixels (edges repeated) and mirror every second one, at random."""
    count, _, height, width = images.shape
    if recipe.shift:
        span = 2 * recipe.shift + 1
        down = torch.randint(span, (count, 1), generator=draw) - recipe.shift + torch.arange(height)
        right = torch.randint(span, (count, 1), generator=draw) - recipe.shift + torch.arange(width)
        rows, columns = down.clamp(0, height - 1)[:, :, None], right.clamp(0, width - 1)[:, None]
        images = images[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
    if recipe.flip:
        mirrored = torch.rand(count, generator=draw) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def disturb(pixels: Tensor, recipe: Recipe, draw: torch.Generator) -> Tensor:
    """Heavy augmentation of images (N,C,H,W) in [0,1]: light and contrast, noise, and a grey square over a part."""
    count, _, height, width = pixels.shape
    if recipe.jitter:
        contrast, light = 1 + recipe.jitter * (2 * torch.rand(2, count, 1, 1, 1, generator=draw) - 1)
        middle = pixels.mean((1, 2, 3), keepdim=True)
        pixels = (light * (middle + contrast * (pixels - middle))).clamp(0, 1)
    if recipe.noise:
        pixels = (pixels + recipe.noise * torch.randn(pixels.shape, generator=draw)).clamp(0, 1)
    if recipe.erase:
        high, wide = round(recipe.erase * height), round(recipe.erase * width)
        top = torch.randint(height - high + 1, (count, 1), generator=draw)
        left = torch.randint(width - wide + 1, (count, 1), generator=draw)
        down, right = torch.arange(height)[None] - top, torch.arange(width)[None] - left
        hidden = ((down >= 0) & (down < high))[:, :, None] & ((right >= 0) & (right < wide))[:, None]
        pixels = torch.where(hidden[:, None], torch.tensor(0.5), pixels)
    return pixels


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser not in OPTIMISERS:
        raise UsageError(f"optimiser must be one of {', '.join(OPTIMISERS)}, not {recipe.optimiser!r}")
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
