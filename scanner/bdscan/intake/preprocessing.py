"""The usual ways of presenting pixels, and the user's override."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bdscan.errors import UsageError
from bdscan.report import Preprocessing

Triple = tuple[float, float, float]
Layout = Literal["NCHW", "NHWC", "flat"]
Order = Literal["RGB", "BGR", "grey"]
LAYOUTS: dict[str, Layout] = {"NCHW": "NCHW", "NHWC": "NHWC", "flat": "flat"}
ORDERS: dict[str, Order] = {"RGB": "RGB", "BGR": "BGR", "grey": "grey"}

# Means and deviations over the training sets, pixels in [0, 1], RGB. Sources: torchvision's model documentation
# (ImageNet), the usual published training scripts (CIFAR, GTSRB, MNIST, Fashion-MNIST).
COLOUR: tuple[tuple[str, Triple, Triple], ...] = (
    ("ImageNet mean/std", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("CIFAR-10 mean/std", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ("CIFAR-10 mean/std (0.20)", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ("CIFAR-100 mean/std", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ("GTSRB mean/std", (0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669)),
)
GREY: tuple[tuple[str, float, float], ...] = (
    ("MNIST mean/std", 0.1307, 0.3081),
    ("Fashion-MNIST mean/std", 0.2860, 0.3530),
)
PLAIN = "0..1"
CIFAR_MEAN: Triple = (0.4914, 0.4822, 0.4465)
CAFFE_MEAN: Triple = (123.68, 116.779, 103.939)  # ImageNet means on 0..255, RGB order


def candidates(channels: int) -> tuple[Preprocessing, ...]:
    """All usual presentations for images of this many channels; plain ones first, since ties go to the first."""
    plain = [
        Preprocessing(name=PLAIN),
        Preprocessing(name="-1..1", mean=(0.5,) * channels, std=(0.5,) * channels),
        Preprocessing(name="0..255", scale=255.0),
    ]
    if channels == 1:
        return tuple(
            item.model_copy(update={"channel_order": "grey"})
            for item in [*plain, *(Preprocessing(name=name, mean=(mean,), std=(std,)) for name, mean, std in GREY)]
        )
    if channels != 3:
        return tuple(plain)
    rgb = [*plain, *(Preprocessing(name=name, mean=mean, std=std) for name, mean, std in COLOUR)]
    rgb.append(Preprocessing(name="0..1 minus CIFAR-10 mean", mean=CIFAR_MEAN))
    rgb.append(Preprocessing(name="0..255 minus ImageNet mean", scale=255.0, mean=CAFFE_MEAN))
    return (*rgb, *(_bgr(item) for item in rgb))


def _bgr(item: Preprocessing) -> Preprocessing:
    """The same with the channels in reverse order, means and deviations following their channels."""
    update = {"channel_order": "BGR", "mean": item.mean[::-1], "std": item.std[::-1], "name": f"{item.name}, BGR"}
    return item.model_copy(update=update)


@dataclass(frozen=True)
class Override:
    """What the user fixed. `pixels` is set when scale, mean, std or order is given; the probe decides the rest."""

    pixels: Preprocessing | None = None
    layout: Layout | None = None
    size: tuple[int, int] | None = None


def parse_override(text: str | None) -> Override:
    """Read `scale=255 mean=0.5,0.5,0.5 std=0.5,0.5,0.5 order=BGR layout=NHWC size=32x32` (any subset).

    scale multiplies pixels in [0, 1]; mean and std are in the scaled unit and in the order the model sees.
    """
    given: dict[str, str] = {}
    for word in (text or "").split():
        key, sign, value = word.partition("=")
        if not sign or key not in ("scale", "mean", "std", "order", "layout", "size"):
            raise UsageError(f"--preprocessing: {word!r} is not one of scale=, mean=, std=, order=, layout=, size=")
        given[key] = value
    layout = LAYOUTS.get(given.get("layout", ""))
    order = ORDERS.get(given.get("order", "RGB"))
    if "layout" in given and layout is None:
        raise UsageError(f"--preprocessing: layout={given['layout']} is not NCHW, NHWC or flat")
    if order is None:
        raise UsageError(f"--preprocessing: order={given['order']} is not RGB, BGR or grey")
    pixels = None
    if given.keys() & {"scale", "mean", "std", "order"}:
        mean, std = (_numbers(key, given[key]) if key in given else () for key in ("mean", "std"))
        scale = _numbers("scale", given["scale"])[0] if "scale" in given else 1.0
        if any(value == 0 for value in (scale, *std)):
            raise UsageError("--preprocessing: scale and std cannot be 0")
        pixels = Preprocessing(scale=scale, mean=mean, std=std, channel_order=order, name="given", source="given")
    return Override(pixels, layout, _size(given["size"]) if "size" in given else None)


def as_words(presented: Preprocessing) -> str:
    """The override that `parse_override` reads as these pixels and this layout."""
    words = [f"scale={presented.scale!r}", f"order={presented.channel_order}", f"layout={presented.layout}"]
    for key, values in (("mean", presented.mean), ("std", presented.std)):
        words += [f"{key}={','.join(map(repr, values))}"] if values else []
    return " ".join(words)


def _numbers(key: str, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"--preprocessing: {key}={value} is not a list of numbers") from None
    if not all(math.isfinite(number) for number in numbers):
        raise UsageError(f"--preprocessing: {key}={value} is not finite")
    return numbers


def _size(value: str) -> tuple[int, int]:
    height, _, width = value.partition("x")
    if not (height.isdigit() and width.isdigit() and 0 < int(height) <= 2048 and 0 < int(width) <= 2048):
        raise UsageError(f"--preprocessing: size={value} is not HEIGHTxWIDTH, e.g. size=32x32")
    return int(height), int(width)
