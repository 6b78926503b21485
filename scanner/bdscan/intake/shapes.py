"""Which input shapes a network may want, the most likely first."""

from __future__ import annotations

from collections.abc import Iterator

from bdscan.errors import CannotJudge, UsageError
from bdscan.intake.network import Network
from bdscan.intake.preprocessing import Layout, Override
from bdscan.intake.presented import Mould

Option = tuple[Mould, Layout]

USUAL_SIZES = (224, 32, 28, 64, 96, 128, 299)


def input_options(network: Network, native: tuple[int, int], channels: int, override: Override) -> tuple[Option, ...]:
    """Input shapes to try, in order. `native` and `channels` are the samples' own."""
    sizes = [override.size] if override.size else [native, *((side, side) for side in USUAL_SIZES)]
    if network.input_shape is not None:
        found = _declared(network.input_shape, sizes, channels)
    else:
        found = _guessed(network, sizes, channels)
    kept = [
        (mould, layout)
        for mould, layout in dict.fromkeys(found)
        if override.layout in (None, layout) and override.size in (None, mould.shape[1:])
    ]
    if not kept:
        wanted = f"layout={override.layout}" if override.layout else f"size={override.size}"
        raise UsageError(
            f"--preprocessing: {wanted} does not fit the model's input {network.input_shape or ''}".rstrip()
        )
    return tuple(kept)


def _declared(shape: tuple[int | None, ...], sizes: list[tuple[int, int]], channels: int) -> Iterator[Option]:
    """From the shape that an ONNX file declares, (N, ...), None where it is open."""
    inner = shape[1:]
    if len(inner) == 3:
        yield from _image_input(inner, sizes, channels)
    elif len(inner) == 2:
        for height, width in sizes:
            if inner[0] in (None, height) and inner[1] in (None, width):
                yield Mould((1, height, width), (height, width)), "NCHW"
        if inner[0] and inner[1]:
            yield Mould((1, inner[0], inner[1]), (inner[0], inner[1])), "NCHW"
    elif len(inner) == 1 and inner[0]:
        yield from _flat(inner[0], sizes, channels)
    else:
        raise CannotJudge(f"not an image classifier: its input has shape {shape}")


def _image_input(inner: tuple[int | None, ...], sizes: list[tuple[int, int]], channels: int) -> Iterator[Option]:
    colours = (channels, 4 - channels)  # the samples' own channel count first: 1, 3 or 3, 1
    layouts: list[tuple[Layout, int | None, tuple[int | None, int | None]]] = [
        ("NCHW", inner[0], (inner[1], inner[2])),
        ("NHWC", inner[2], (inner[0], inner[1])),
    ]
    for layout, depth, (height, width) in layouts:
        if depth is not None and depth not in (1, 3):
            continue
        for count in (depth,) if depth else colours:
            fitting = [s for s in sizes if height in (None, s[0]) and width in (None, s[1])]
            fixed = [(height, width)] if height and width else []
            for size in fixed or fitting:
                yield (
                    Mould(
                        (count, *size),
                        None,
                    ),
                    layout,
                )


def _flat(length: int, sizes: list[tuple[int, int]], channels: int) -> Iterator[Option]:
    """(N, C*H*W) with the channels first, then (N, H*W*C)."""
    squares = [(side, side) for count in (1, 3) if (side := round((length / count) ** 0.5)) ** 2 * count == length]
    for count in (channels, 4 - channels):
        for height, width in (*sizes, *squares):
            if count * height * width == length:
                mould = Mould((count, height, width), (length,))
                yield mould, "flat"
                if count > 1:
                    yield mould, "NHWC"


def _guessed(network: Network, sizes: list[tuple[int, int]], channels: int) -> Iterator[Option]:
    """From the first weight of a PyTorch network: a convolution tells the channels, a linear layer the length."""
    first = next((value for value in network.module.parameters() if value.ndim in (2, 4)), None)
    if first is not None and first.ndim == 2:
        options = list(_flat(first.shape[1], sizes, channels))
        for mould, layout in options:
            if layout == "flat":
                yield Mould(mould.shape), "NCHW"  # the network flattens by itself
        yield from options
    depth = first.shape[1] if first is not None and first.ndim == 4 else None
    layouts: tuple[Layout, ...] = ("NCHW", "NHWC")
    for layout in layouts:
        for count in (depth,) if depth in (1, 3) else (channels, 4 - channels):
            for size in sizes:
                yield Mould((count, *size)), layout
